"""ResNets of the CIFAR family (He et al. 2016, section 4.2): three stages of 16, 32 and 64 channels."""

from torch import Tensor, nn
from torch.nn import functional as F

from models.base import Classifier, network
from models.batch_norm import BatchNorm2d

# Blocks a stage, by name; the depth is 6 n + 2. "resnet18" is the published code's name for
# its ImageNet network, which is this family with n = 2. The paper uses resnet32 elsewhere.
RESNETS = {"resnet8": 1, "resnet14": 2, "resnet20": 3, "resnet32": 5, "resnet18": 2}


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and an option-A (parameter-free) shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(outputs)
        self.added_channels = outputs - inputs

    def shortcut(self, x: Tensor) -> Tensor:
        """Option A: where the size changes, every second pixel, and zero channels on both sides."""
        if not self.added_channels:
            return x
        half = self.added_channels // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))

    def sum(self, x: Tensor) -> Tensor:
        """Add the output of the convolutions and the shortcut."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.sum(x), inplace=True)


class ResNet(Classifier):
    """A ResNet of depth 6 n + 2, n the blocks of a stage, with a linear classifier on 64 features."""

    block: type[BasicBlock] = BasicBlock

    def __init__(self, blocks: int, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.last = self.outputs(classes)
        self.initialise()

    @classmethod
    def _stage(cls, inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        first = cls.block(inputs, outputs, stride)
        return nn.Sequential(first, *(cls.block(outputs, outputs, 1) for _ in range(blocks - 1)))

    def outputs(self, classes: int) -> nn.Linear:
        """A new ``last``."""
        return nn.Linear(self.feature_size, classes)

    def initialise(self) -> None:
        """Draw the initial weights."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def first_stage(self, images: Tensor) -> Tensor:
        return self.layer1(F.relu(self.bn1(self.conv1(images)), inplace=True))

    def later_stages(self, maps: Tensor) -> Tensor:
        return self.layer3(self.layer2(maps))


for _name, _blocks in RESNETS.items():
    network(_name, "resnet")(lambda classes, side, blocks=_blocks: ResNet(blocks, classes))
