"""CIFAR-10 and CIFAR-100."""

from dataloaders.from_torchvision import from_torchvision

from_torchvision(
    "CIFAR10", classes=10, image_size=32, mean=(0.49139968, 0.48215841, 0.44653091),
    std=(0.24703223, 0.24348513, 0.26158784))
from_torchvision(
    "CIFAR100", classes=100, image_size=32, mean=(0.50707516, 0.48654887, 0.44091784),
    std=(0.26733429, 0.25643846, 0.27615047))
