"""torchvision's ResNet-18, the second backbone of the field."""

import utils.torchvision_cpu  # noqa: F401  (before torchvision)

from torch import Tensor, nn
from torch.nn import functional as F

from models.base import Classifier, network
from models.batch_norm import BatchNorm2d

SMALL = 64  # pixels


@network("torchvision_resnet18")
class ResNet18(Classifier):
    """11 M parameters, 512 features. For small images it begins with a 3 x 3 convolution of stride 1 and has
    no max-pooling. Names of tensors are torchvision's, for ``--weights``."""

    feature_size = 512

    def __init__(self, classes: int, side: int):
        from torchvision.models import resnet18

        super().__init__()
        network = resnet18(norm_layer=BatchNorm2d)
        self.conv1: nn.Module = network.conv1
        self.maxpool: nn.Module = network.maxpool
        if side <= SMALL:
            self.conv1, self.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1, self.layer1, self.layer2 = network.bn1, network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        self.last = nn.Linear(self.feature_size, classes)

    def first_stage(self, images: Tensor) -> Tensor:
        return self.layer1(self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True)))

    def later_stages(self, maps: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(maps)))
