"""MNIST, Fashion-MNIST and SVHN, three equal channels if they are grey, at the side that generators make."""

from dataloaders.from_torchvision import from_torchvision

from_torchvision("MNIST", classes=10, image_size=32, mean=(0.1307,) * 3, std=(0.3081,) * 3)
from_torchvision("FashionMNIST", classes=10, image_size=32, mean=(0.2860,) * 3, std=(0.3530,) * 3)
from_torchvision(
    "SVHN", classes=10, image_size=32, mean=(0.4377, 0.4438, 0.4728), std=(0.1980, 0.2010, 0.1970))
