"""What the recipes of golden numbers are made of: deviations from expected numbers, and random numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Numbers = dict[str, Any]
BATCH = 32
TOLERANCE = 1e-6
FLOOR = 1e-3  # below it a deviation is relative to this


# Deviations, in tolerances


def relative(got: Any, expected: float, floor: float = FLOOR) -> float:
    got = got.detach() if isinstance(got, Tensor) else got
    return abs(float(got) - expected) / (TOLERANCE * max(abs(expected), floor))


def absolute(got: Any, expected: Any) -> float:
    got, expected = (
        np.asarray(value.detach() if isinstance(value, Tensor) else value, dtype=float)
        for value in (got, expected)
    )
    return (
        float(np.abs(got - expected).max(initial=0.0)) / TOLERANCE
        if got.shape == expected.shape
        else float("inf")
    )


def fingerprint(got: Tensor, expected: Sequence[Any], floor: float = FLOOR) -> float:
    """[L2 norm, mean, first four values] of a tensor."""
    norm, mean, first = expected
    values = got.detach().flatten()
    return max(
        relative(values.norm(), norm, floor),
        absolute(values.mean(), mean),
        absolute(values[: len(first)], first),
    )


def fingerprints(got: dict[str, Tensor], expected: Numbers, floor: float = FLOOR) -> float:
    return max(fingerprint(got[name], value, floor) for name, value in expected.items())


def wrong(condition: bool) -> float:
    return 0.0 if condition else float("inf")


# The recipes' random numbers


def normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def stretched(seed: int, side: int, count: int = BATCH, times: int | None = None) -> Tensor:
    """standard_normal((count, 3, side, side)), every pixel repeated, to 32 x 32 unless ``times`` is given."""
    times = times or 32 // side
    return normal(seed, count, 3, side, side).repeat_interleave(times, 2).repeat_interleave(times, 3)


def whole(seed: int, low: int, high: int, count: int = BATCH) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randint(low, high, count)).long()


def state(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Its tensors, which may be written to, in the order of its state dict."""
    return {
        f"{prefix}{name}": tensor
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


@torch.no_grad()
def fill(tensors: dict[str, Tensor], seed: int) -> None:
    """One stream over the tensors in their order."""
    random = np.random.RandomState(seed)
    for name, tensor in tensors.items():
        shape = tuple(tensor.shape)
        if name.endswith("running_var"):
            values = random.uniform(0.5, 1.5, shape)
        elif name.endswith("running_mean"):
            values = 0.1 * random.standard_normal(shape)
        elif tensor.ndim > 1:
            values = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = random.uniform(0.2, 0.6, shape)
        else:
            values = 0.1 * random.standard_normal(shape)
        tensor.copy_(torch.from_numpy(np.asarray(values)))
