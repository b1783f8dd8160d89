"""Fold each batch norm into the convolution before it, in networks that learn no more.

A forward pass shows which convolution each norm reads, since a network may declare its layers in any order.
The folded network is then compared with the original in float64, where rounding can't hide a difference; a
network that would compute anything else stays as it is.
"""

import copy
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.batch_norm import NORMS
from models.generator import UpsampledConv2d
from models.resnet import Classifier
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


class NoHostReads(TorchFunctionMode):
    """The same for values that reach Python without an operation of torch's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("tolist", "numpy", "__array__"):
            raise ValueError(f"{func.__name__} may lead to another decision next time")
        return func(*args, **(kwargs or {}))


def plain(layer: nn.Module) -> bool:
    """Return whether a layer computes in evaluation mode what its type says, and nobody looks on."""
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
    """Return the names of each convolution and of the norm that always reads its output next, and the
    network's outputs for x."""
    names = {layer: name for name, layer in network.named_modules() if plain(layer)}
    calls: Counter[nn.Module] = Counter()
    written: dict[int, tuple[nn.Module, Tensor, int]] = {}
    read: dict[nn.Module, list[nn.Module | None]] = defaultdict(list)  # norm -> what it read at each call

    def after_convolution(layer: nn.Module, args: Any, y: Tensor) -> None:
        calls[layer] += 1
        written[id(y)] = layer, y, y._version  # y stays alive, so its id is nobody else's

    def before_norm(layer: nn.Module, args: Any) -> None:
        conv, y, version = written.get(id(args[0]), (None, args[0], -1))
        read[layer].append(conv if y._version == version else None)

    handles = []
    for layer in names:
        if type(layer) in CONVOLUTIONS:
            handles.append(layer.register_forward_hook(after_convolution))
        elif type(layer) in NORMS and layer.running_mean is not None:
            handles.append(layer.register_forward_pre_hook(before_norm))
    with Predictable(), NoHostReads():
        found = outputs(network, x)
    for handle in handles:
        handle.remove()
    feeds = [(conv, norm) for norm, (conv, *others) in read.items()
             if conv is not None and others == [conv] * (calls[conv] - 1)]
    return [(names[conv], names[norm]) for conv, norm in feeds], found


def replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever the network has ``old``."""
    for name, layer in list(network.named_modules(remove_duplicate=False)):
        if layer is old:
            network.set_submodule(name, new)


def fold(network: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Fold in place, in evaluation mode."""
    for conv, norm in pairs:
        layer: Any = network.get_submodule(conv)
        follower: Any = network.get_submodule(norm)
        replace(network, layer, fuse_conv_bn_eval(layer, follower).requires_grad_(False))
        replace(network, follower, nn.Identity())
    for layer in list(network.modules()):
        if type(layer) is UpsampledConv2d and plain(layer):
            replace(network, layer, layer.as_transposed())


def same(a: Tensor, b: Tensor) -> bool:
    """Return whether two outputs agree to a millionth of the largest value."""
    tolerance = 1e-6 * float(a[a.isfinite()].abs().max()) if a.isfinite().any() else 0.0
    return a.shape == b.shape and torch.allclose(a, b, rtol=0.0, atol=tolerance, equal_nan=True)


class Reads(TorchDispatchMode):
    """Collect, while open, the memory that operations read: where the storages of their tensors begin."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        self.memory |= {tensor.untyped_storage().data_ptr() for tensor in tensors}
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def check_copies(network: nn.Module, shape: Sequence[int]) -> None:
    """Raise UserError if a copy of the network computes with tensors of the original: copying leaves
    functions as they are, so with a ``lambda x: self.norm(x)`` a teacher would change with its student.

    Args:
        shape: that of one input.
    """
    twin = copy.deepcopy(network).eval()
    with torch.random.fork_rng(devices=[]), Reads() as reads:
        twin(torch.zeros(2, *shape))
    for name, tensor in network.state_dict().items():
        if tensor.numel() and tensor.untyped_storage().data_ptr() in reads.memory:
            kind = type(network).__name__
            raise UserError(
                f"a copy of {kind} computes with {name} of the network that it was copied from; "
                f"{kind} must not keep a function, such as a lambda, that holds its layers")


@torch.no_grad()
def foldable(network: nn.Module, shape: Sequence[int]) -> list[tuple[str, str]]:
    """Return the names of the convolutions and norms that may be folded in a network in evaluation mode;
    none if it can't run in float64 on a CPU.

    Args:
        shape: that of one input.
    """
    x = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    try:
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", enabled=False):
            twin = copy.deepcopy(network).to(torch.float64).to("cpu", non_blocking=True)
            for device in {tensor.device for tensor in network.parameters() if tensor.is_cuda}:
                torch.cuda.current_stream(device).synchronize()  # once, whatever the number of tensors
            pairs, expected = pairs_in(twin, x)
            fold(twin, pairs)
            return pairs if all(map(same, expected, outputs(twin, x))) else []
    except Exception:  # in code that isn't ours
        return []


def folded(network: Network, shape: Sequence[int]) -> Network:
    """Return a copy in evaluation mode that computes the same from fewer operations.

    Args:
        shape: that of one input, such as (3, 32, 32) for a classifier of CIFAR's images.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    fold(network, foldable(network, shape))
    return network
