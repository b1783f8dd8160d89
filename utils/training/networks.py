"""Saved networks: this project's, with a checksum, and plain state dicts, as the published code leaves them."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from utils.tensors import has_checksum, read_plain_tensors, read_tensors


def read_network(path: Path, network: nn.Module) -> tuple[dict[str, Tensor], bool]:
    """A state dict for ``network``, on the CPU, and whether a checksum vouches for it. Runs no code out of the file.

    Raises OSError where there is no such file, ValueError where its tensors are not the network's, another exception
    where it is damaged.
    """
    checked = has_checksum(path)
    return fitted(read_tensors(path) if checked else read_plain_tensors(path), network), checked


def fitted(state: Any, network: nn.Module) -> dict[str, Tensor]:
    """``state`` under the network's names. Where its own are others, as the published code's or under a wrapper's prefix, tensors
    are told by their order: a name's last part (weight, running_mean) and the shape must agree at each place. Raises ValueError."""
    wanted = network.state_dict()
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it holds no state dict of tensors")
    if state.keys() != wanted.keys():
        if [name.rpartition(".")[2] for name in state] != [name.rpartition(".")[2] for name in wanted]:
            raise ValueError("its tensors are another network's")
        state = dict(zip(wanted, state.values()))
    for name, value in wanted.items():
        if state[name].shape != value.shape:
            raise ValueError(f"{name} is {' x '.join(map(str, state[name].shape)) or 'one number'} there, "
                             f"{' x '.join(map(str, value.shape)) or 'one number'} here")
    return {name: state[name] for name in wanted}
