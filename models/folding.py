"""Fold each batch norm into the convolution before it, in networks that learn no more.

A forward pass shows which convolution each norm reads, since a network may declare its layers in any order.
The folded network is then compared with the original in float64, where rounding can't hide a difference; a
network that would compute anything else stays as it is.
"""

import copy
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode

from models.base import Classifier
from models.batch_norm import NORMS
from models.generator import UpsampledConv2d
from utils.errors import UserError

Network = TypeVar("Network", bound=nn.Module)

CONVOLUTIONS = (nn.Conv2d, UpsampledConv2d)  # exactly these, because a subclass may compute something else
UNPREDICTABLE = {
    torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Predictable(TorchDispatchMode):
    """While open, random numbers and decisions that depend on a tensor's values raise an error: one
    comparison would prove nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if UNPREDICTABLE & set(func.tags):
            raise ValueError(f"{func} may give something else next time")
        return func(*args, **(kwargs or {}))


def plain(layer: nn.Module) -> bool:
    """Return whether a layer is in evaluation mode, unhooked and unpatched."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    return not (layer.training or hooked or "forward" in vars(layer))


def outputs(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the output of every method that learners call."""
    if not isinstance(network, Classifier):
        return [network(x)]
    found = [network(x), network.features(x)]
    if type(network).first_stage is not Classifier.first_stage:
        maps = network.first_stage(x)
        found += [maps, network.features_from(maps)]
    return found


def pairs_in(network: nn.Module, x: Tensor) -> tuple[list[tuple[str, str]], list[Tensor]]:
    """Return the names of each convolution and of the norm that reads its output, and the outputs for x."""
    written: dict[int, tuple[str, Tensor]] = {}  # a tensor that is kept, so its id is no other's
    pairs: dict[str, str] = {}

    def after_convolution(name: str, layer: nn.Module, args: Any, y: Tensor) -> None:
        written[id(y)] = name, y

    def before_norm(name: str, layer: nn.Module, args: Any) -> None:
        if id(args[0]) in written:
            pairs[name] = written[id(args[0])][0]

    handles = []
    for name, layer in network.named_modules():
        if type(layer) in CONVOLUTIONS and plain(layer):
            handles.append(layer.register_forward_hook(partial(after_convolution, name)))
        elif type(layer) in NORMS and plain(layer) and layer.running_mean is not None:
            handles.append(layer.register_forward_pre_hook(partial(before_norm, name)))
    with Predictable():
        found = outputs(network, x)
    for handle in handles:
        handle.remove()
    return [(conv, norm) for norm, conv in pairs.items()], found


def fold(network: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Fold in place, in evaluation mode."""
    for conv, norm in pairs:
        layer: Any = network.get_submodule(conv)
        follower: Any = network.get_submodule(norm)
        network.set_submodule(conv, fuse_conv_bn_eval(layer, follower).requires_grad_(False))
        network.set_submodule(norm, nn.Identity())
    for name, layer in list(network.named_modules()):
        if type(layer) is UpsampledConv2d and plain(layer):
            network.set_submodule(name, layer.as_transposed())


def same(a: Tensor, b: Tensor) -> bool:
    """Return whether two outputs agree to a millionth of the largest value."""
    tolerance = 1e-6 * float(a[a.isfinite()].abs().max()) if a.isfinite().any() else 0.0
    return a.shape == b.shape and torch.allclose(a, b, rtol=0.0, atol=tolerance, equal_nan=True)


@torch.no_grad()
def folded(network: Network, shape: Sequence[int]) -> Network:
    """Return a copy in evaluation mode that computes the same, from fewer operations if that can be shown.

    Args:
        shape: that of one input, such as (3, 32, 32) for a classifier of CIFAR's images.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    x = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    try:
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", enabled=False):
            twin = copy.deepcopy(network).to(torch.float64).to("cpu", non_blocking=True)
            for device in {tensor.device for tensor in network.parameters() if tensor.is_cuda}:
                torch.cuda.current_stream(device).synchronize()  # once, whatever the number of tensors
            pairs, expected = pairs_in(twin, x)
            fold(twin, pairs)
            proven = all(map(same, expected, outputs(twin, x)))
    except Exception:  # in code that isn't ours
        proven = False
    if proven:
        fold(network, pairs)
    return network


def check_copies(network: nn.Module, shape: Sequence[int]) -> None:
    """Raise UserError if a copy of the network computes with parameters of the original: copying leaves
    functions as they are, so with a ``lambda x: self.norm(x)`` a teacher would change with its student.

    Args:
        shape: that of one input.
    """
    twin = copy.deepcopy(network).eval().requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        if twin(torch.zeros(2, *shape)).requires_grad:
            kind = type(network).__name__
            raise UserError(
                f"a copy of {kind} computes with layers of the network that it was copied from; "
                f"{kind} must not keep a function, such as a lambda, that holds its layers")
