"""Networks that learn no more: teachers, and the model while it is tested."""

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.resnet import ResNet

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network) -> Network:
    """A copy in evaluation mode, each batch norm that follows a convolution folded into it: the same outputs from
    fewer operations. In every module, layers must run in the order in which they were added."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(network.modules()):
        for (before, conv), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
                setattr(module, name, nn.Identity())
    return network


class Frozen:
    """What a classifier computes now, whatever it learns later, without a gradient graph. Not a module: no part of a
    learner's parameters or checkpoint.

    Attributes:
        last: its linear layer on the features.
    """

    def __init__(self, network: ResNet):
        self.network = folded(network)
        self.last = self.network.last

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, classes], of the images' precision under autocast too."""
        return self.network(images).to(images.dtype)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to features [B, 64]."""
        return self.network.features(images)
