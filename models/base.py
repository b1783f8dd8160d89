"""What a network is, and the registry of those that ``--model_name`` names (docs/your-own-network.md)."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.heads import HeadPairs
from utils.errors import UserError

# (--model_type, or "" for both; --model_name) -> what makes the network from (classes, side of the images).
NETWORKS: dict[tuple[str, str], Callable[[int, int], "Classifier"]] = {}


def network(name: str, family: str = "") -> Callable[[Any], Any]:
    """Register the decorated class or function as what ``--model_name NAME`` makes. It is called with the
    number of classes and the side of the images in pixels."""

    def register(make: Any) -> Any:
        if (family, name) in NETWORKS or not family and name in {other for _, other in NETWORKS}:
            raise UserError(f"there is already a network called {name}; choose another name")
        NETWORKS[family, name] = make
        return make

    return register


class Classifier(nn.Module):
    """A backbone, in two parts, and ``last``, the linear outputs on its features. Learners call ``features``
    and ``last`` one after the other, so a network of one's own must not do anything else in ``forward``.

    Attributes:
        feature_size: of the features.
        last: all outputs, from the start on, whatever has been learned so far.
        frozen: whether only ``last`` learns (``--freeze``); the backbone stays in evaluation mode.
    """

    feature_size = 64
    last: nn.Linear | HeadPairs
    frozen = False

    def first_stage(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to the maps after the first stage of blocks."""
        raise NotImplementedError

    def later_stages(self, maps: Tensor) -> Tensor:
        """Maps after the first stage to the maps after the last."""
        raise NotImplementedError

    def features_from(self, maps: Tensor) -> Tensor:
        """Maps after the first stage to features [B, feature_size]."""
        x = self.later_stages(maps)
        x = x.to(next(self.last.parameters()).dtype)  # from bfloat16, under autocast
        return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)

    def features(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to features [B, feature_size], what the classifier sees."""
        return self.features_from(self.first_stage(images))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to logits [B, classes]."""
        return self.last(self.features(images))

    def freeze(self) -> None:
        """Let only ``last`` learn."""
        self.frozen = True
        self.requires_grad_(False)
        self.last.requires_grad_(True)

    def train(self, mode: bool = True) -> Self:
        super().train(mode and not self.frozen)
        self.last.train(mode)
        self.training = mode
        return self
