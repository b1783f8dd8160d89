"""Fold each batch norm into the convolution before it. Which one comes before follows from what runs, not
from the order of declaration: one forward pass shows which layer reads which tensor."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
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

Network = TypeVar("Network", bound=nn.Module)

CONVOLUTIONS = (nn.Conv2d, UpsampledConv2d)  # exactly these, because a subclass may compute something else
UNPREDICTABLE = {
    torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
HOST_READS = {"tolist", "numpy", "__array__"}


class Untraceable(Exception):
    """The forward pass draws random numbers or depends on the values of tensors."""


class NoHostReads(TorchFunctionMode):
    """Raises Untraceable if a tensor's values leave torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in HOST_READS:
            raise Untraceable(func.__name__)
        return func(*args, **(kwargs or {}))


def storage(tensor: Tensor) -> int:
    """Return an identity that a tensor shares with its views, valid while one of them lives."""
    return tensor.untyped_storage()._cdata


class Trace(TorchDispatchMode):
    """Record, while open, which of ``layers`` reads which tensor. Raises Untraceable.

    Attributes:
        readers: storage -> the layers that read it, and None if anything else does.
        written: layer -> the storage of its output, one entry per call.
    """

    def __init__(self, layers: Iterable[nn.Module]):
        super().__init__()
        self.readers: dict[int, set[nn.Module | None]] = defaultdict(set)
        self.written: dict[nn.Module, list[int]] = defaultdict(list)
        self.running: nn.Module | None = None
        self.alive: list[Any] = []
        for layer in layers:
            own: Any = layer
            own.forward = partial(self.call, layer, type(layer).forward)  # also for layer.forward(x)

    def call(self, layer: nn.Module, forward: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        self.running = layer
        try:
            y = forward(layer, *args, **kwargs)
        finally:
            self.running = None
        self.written[layer].append(storage(y))
        return y

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if UNPREDICTABLE & set(func.tags):
            raise Untraceable(str(func))
        out = func(*args, **(kwargs or {}))
        self.read((args, kwargs))
        self.alive.append((args, kwargs, out))
        return out

    def read(self, values: Any) -> None:
        """Note that all tensors in ``values`` are read."""
        for tensor in tree_leaves(values):
            if isinstance(tensor, Tensor):
                self.readers[storage(tensor)].add(self.running)

    def feeds(self, conv: nn.Module, norm: nn.Module) -> bool:
        """Return whether each runs once, the norm alone reads what the convolution gives, and nothing else
        reads the tensors of either."""
        tensors = [*conv.state_dict().values(), *norm.state_dict().values()]
        private = not any(None in self.readers[storage(tensor)] for tensor in tensors)
        once = len(self.written[norm]) == 1
        return private and once and [self.readers[y] for y in self.written[conv]] == [{norm}]


def entries(network: nn.Module) -> list[Callable[[Tensor], Any]]:
    """Return all the ways in which learners call a network."""
    if not isinstance(network, Classifier):
        return [network]

    def staged(images: Tensor) -> tuple[Tensor, ...]:
        maps = network.first_stage(images)
        features = network.features_from(maps)
        return maps, features, network.last(features)

    def has(name: str) -> bool:
        """Return whether the network replaces Classifier's method."""
        return name in vars(network) or getattr(type(network), name) is not getattr(Classifier, name)

    if not has("forward") and not has("features"):
        return [staged]
    return [network, network.features, *([staged] if has("first_stage") else [])]


def plain(layer: nn.Module) -> bool:
    """Return whether a layer computes in evaluation mode what its type says, and nobody looks on."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    return not (layer.training or hooked or "forward" in vars(layer))


def proven_pairs(network: nn.Module, x: Tensor) -> tuple[list[tuple[str, str]], list[Any]]:
    """Return the names of the convolutions and norms that can be folded, and each entry's output for x.
    Raises Untraceable."""
    names = {layer: name for name, layer in network.named_modules() if plain(layer)}
    convs = [layer for layer in names if type(layer) in CONVOLUTIONS]
    norms = [layer for layer in names if type(layer) in NORMS and layer.running_mean is not None]
    given, traces = [], []
    for entry in entries(network):
        with NoHostReads(), Trace([*convs, *norms]) as trace:
            given.append(entry(x))
            trace.read(given[-1])
        traces.append(trace)
    for layer in (*convs, *norms):
        del layer.forward
    pairs = []
    for conv in convs:
        found = {norm for trace in traces for y in trace.written[conv] for norm in trace.readers[y]}
        if len(found) == 1 and (norm := found.pop()) in norms:
            running = [trace for trace in traces if trace.written[conv] or trace.written[norm]]
            if all(trace.feeds(conv, norm) for trace in running):
                pairs.append((names[conv], names[norm]))
    return pairs, given


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


def same(one: Any, other: Any) -> bool:
    """Return whether two outputs agree to a millionth of their largest value."""
    for a, b in zip(tree_leaves(one), tree_leaves(other), strict=True):
        tolerance = 1e-6 * float(a[a.isfinite()].abs().max()) if a.isfinite().any() else 0.0
        if a.shape != b.shape or not torch.allclose(a, b, rtol=0.0, atol=tolerance, equal_nan=True):
            return False
    return True


@torch.no_grad()
def foldable(network: nn.Module, shape: Sequence[int]) -> list[tuple[str, str]]:
    """Return the names of the convolutions and norms that may be folded in a network in evaluation mode.

    They are tried on a copy in float64 on the CPU, where rounding can't hide a difference. A network that
    fails there, that draws random numbers, or whose path depends on values, has none.

    Args:
        shape: that of one input.
    """
    x = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    try:
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", enabled=False):
            twin = copy.deepcopy(network).to(torch.float64).to("cpu", non_blocking=True)
            for device in {tensor.device for tensor in network.parameters() if tensor.is_cuda}:
                torch.cuda.current_stream(device).synchronize()  # once, whatever the number of tensors
            pairs, expected = proven_pairs(twin, x)
            fold(twin, pairs)
            return pairs if same(expected, [entry(x) for entry in entries(twin)]) else []
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
