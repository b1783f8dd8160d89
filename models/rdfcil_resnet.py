"""The networks of R-DFCIL's code (docs/successors.md, "Network"): no ReLU after an addition, so that features
may be negative, zero channels last, a last batch norm in every block that starts at 0, and a head without
bias a task."""

from torch import Tensor, nn
from torch.nn import functional as F

from models.base import Classifier, network
from models.batch_norm import BatchNorm2d
from models.heads import Heads
from models.resnet import RESNETS, BasicBlock, ResNet


def initialise(backbone: nn.Module) -> None:
    """Convolutions He normal by fan-out; the last batch norm of every block starts with weight 0."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)


class PlainBlock(BasicBlock):
    """A basic block that ends with the addition."""

    def shortcut(self, x: Tensor) -> Tensor:
        """If the size changes, take every second pixel and append the zero channels."""
        if not self.added_channels:
            return x
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added_channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.sum(x)


class RDFCILResNet(ResNet):
    """The ResNet of depth 6 n + 2 for CIFAR and TinyImageNet; see ResNet."""

    block = PlainBlock

    def outputs(self, classes: int) -> nn.Linear:
        return Heads(self.feature_size, classes)

    def initialise(self) -> None:
        initialise(self)


class ProjectedBlock(BasicBlock):
    """A basic block whose shortcut is a 1 x 1 convolution and a batch norm if the size changes; the last one
    of a stage has no ReLU after the addition."""

    def __init__(self, inputs: int, outputs: int, stride: int, last: bool):
        super().__init__(inputs, outputs, stride)
        self.last = last
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, BatchNorm2d(outputs))

    def shortcut(self, x: Tensor) -> Tensor:
        return self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.sum(x) if self.last else super().forward(x)


class RDFCILResNet18(Classifier):
    """The ResNet-18 for ImageNet: a 3 x 3 convolution of stride 1 and a max pool, four stages of two blocks,
    512 features."""

    feature_size = 512

    def __init__(self, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.layer1 = self._stage(64, 64, 1)
        self.layer2 = self._stage(64, 128, 2)
        self.layer3 = self._stage(128, 256, 2)
        self.layer4 = self._stage(256, 512, 2)
        self.last = Heads(self.feature_size, classes)
        initialise(self)

    @staticmethod
    def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        first = ProjectedBlock(inputs, outputs, stride, last=False)
        return nn.Sequential(first, ProjectedBlock(outputs, outputs, 1, last=True))

    def first_stage(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        return self.layer1(F.max_pool2d(x, 3, 2, 1))

    def later_stages(self, maps: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(maps)))


for _name, _blocks in RESNETS.items():
    if _name != "resnet18":  # ImageNet's
        network(_name, "rdfcil_resnet")(lambda classes, side, blocks=_blocks: RDFCILResNet(blocks, classes))
network("resnet18", "rdfcil_resnet")(lambda classes, side: RDFCILResNet18(classes))
