"""A GPU pretended on a CPU: real arithmetic on tensors that know whether they would lie on the GPU.

    with pretended() as machine:       # torch.cuda is there; device "cuda:0"
        ...
    machine.waits                      # {what: how often} the host waited for the GPU or copied to it

What CUDA or a CUDA graph forbids, or silently gets wrong, raises ``Wrong``. A captured step runs once, for
real, as its first replay; later replays run it again. What it can't see: kernels, their speed and precision,
streams, copies under way, memory, the driver's errors, autocast's list for CUDA.
"""

import collections
import contextlib
import sys
import weakref
from unittest.mock import Mock, patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
aten = torch.ops.aten

# The shape of their result, or the host, depends on data: the GPU is waited for.
WAITS = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.bincount,
    aten.equal, aten.histc, aten.multinomial, aten._linalg_svd, aten._linalg_eigh}
# On a GPU they add up in any order (torch.use_deterministic_algorithms lists them).
UNORDERED = {
    aten._adaptive_avg_pool2d_backward, aten.upsample_bilinear2d_backward, aten.reflection_pad2d_backward,
    aten.replication_pad2d_backward, aten.nll_loss2d_forward, aten.put_, aten.histc, aten.cumsum}
INDEXING = {aten.index, aten.index_put_, aten.index_put, aten._index_put_impl_}
MIXED = {*INDEXING, aten.copy_, aten._to_copy, aten.set_, aten._has_same_storage_numel}  # take both devices


class Wrong(RuntimeError):
    """What CUDA would raise, or silently get wrong."""


class Generator(torch.Generator):
    """A CPU's generator that says it is the GPU's if it was asked to be."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        made.place = GPU if is_cuda(device) else CPU
        return made

    @property
    def device(self):
        return self.place

    def graphsafe_set_state(self, other):
        self.set_state(other.get_state())


def tensors(*things):
    """All tensors in lists, tuples and dicts of any depth; torch's pytree takes longer."""
    found = []
    for thing in things:
        if isinstance(thing, torch.Tensor):
            found.append(thing)
        elif isinstance(thing, (list, tuple, dict)):
            found += tensors(*(thing.values() if isinstance(thing, dict) else thing))
    return found


def storages(*things):
    """Those of all tensors, by their identity."""
    strided = [tensor.untyped_storage() for tensor in tensors(*things) if tensor.layout is torch.strided]
    return {id(storage): storage for storage in strided}


def on_gpu(*things):
    return any(getattr(storage, "gpu", False) for storage in storages(*things).values())


def mark(gpu, *things, known=()):
    """Say where tensors lie, but for those with ``known`` storages."""
    for key, storage in storages(*things).items():
        if key not in known:
            storage.gpu = gpu


def is_cuda(device):
    return device is not None and torch.device(device).type == "cuda"


class Machine(TorchFunctionMode):
    """Python's calls: devices are asked for and told here, and tensors cross between them."""

    def __init__(self):
        self.graph, self.waits = None, collections.Counter()  # the graph that is being captured
        self.captures = []  # names of the stages whose step was captured
        self.inside = [False]  # whether what an operation under way makes without a device lies on the GPU

    def refuse(self, what):
        if self.graph:
            raise Wrong(f"{what} while capturing")

    def wait(self, what):
        self.refuse(what)
        self.waits[what] += 1

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name, gpu = dict(kwargs or {}), getattr(func, "__name__", ""), on_gpu(args, kwargs)
        if name == "__get__":
            return self.attribute(func, args)
        if gpu and name in ("numpy", "__array__"):
            raise Wrong(f"{name} of a tensor on cuda:0")
        if name in ("to", "cpu", "cuda") and isinstance(args[0], torch.Tensor):
            return self.to(args[0], args[1:] if name == "to" else (name, *args[1:]), kwargs)
        if gpu and name == "tolist":
            self.wait("tolist")
        if gpu and name == "one_hot":  # only a CPU's looks at the labels
            return args[0].new_zeros(*args[0].shape, args[1]).scatter_(-1, args[0].unsqueeze(-1), 1)
        asked = kwargs.get("device")
        if asked is not None:
            kwargs["device"] = CPU
        here = gpu if asked is None else is_cuda(asked)
        for random in (*args, *kwargs.values()):
            if isinstance(random, Generator):
                self.check_random(name, random, here)
        out = self.call(func, args, kwargs, "deepcopy" if name == "__deepcopy__" and gpu else here)
        if here and name in ("tensor", "as_tensor") and not gpu:
            self.wait(f"torch.{name}")
        if here:
            mark(True, out, known=storages(args, kwargs))
        return out

    @contextlib.contextmanager
    def capture(self, graph, stream, capture_error_mode):
        """Stand in for torch.cuda.graph in a TrainingStep."""
        frame = sys._getframe(2)
        while type(frame.f_locals.get("self")).__name__ != "TrainingStep":
            frame = frame.f_back
        graph.step = frame.f_locals["self"]
        stage = graph.step.stage
        if any(p.grad is not None for group in stage.optimizer.param_groups for p in group["params"]):
            raise Wrong("gradients from before the capture: they would be accumulated into")
        graph.before, self.graph = graph.baked(), graph
        try:
            yield
        except RuntimeError:  # as torch
            raise RuntimeError("CUDA error: operation failed due to an error during capture")  # noqa: B904
        finally:
            self.graph = None
            graph.made.clear()
        self.captures.append(stage.name)

    def call(self, func, args, kwargs, inside):
        self.inside.append(inside)
        try:
            return func(*args, **kwargs)
        finally:
            self.inside.pop()

    def attribute(self, func, args):
        name = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "device" and on_gpu(args[0]):
            return GPU
        return on_gpu(args[0]) == (name == "is_cuda") if name in ("is_cuda", "is_cpu") else func(*args)

    def check_random(self, name, random, here):
        graph = self.graph
        if is_cuda(random.device) != here:
            raise Wrong(f"{name}: a generator of {random.device} for a tensor elsewhere")
        if here and graph and random not in graph.registered:
            raise Wrong(f"{name} draws from a generator that is not registered with the graph")

    def to(self, tensor, args, kwargs):
        if args and isinstance(args[0], torch.Tensor):
            args = (GPU if on_gpu(args[0]) else CPU, args[0].dtype, *args[1:])
        device, dtype, behind, form = torch._C._nn._parse_to(*args, **kwargs)
        now, then = on_gpu(tensor), on_gpu(tensor) if device is None else is_cuda(device)
        form = {"memory_format": form or torch.preserve_format, "copy": kwargs.get("copy", now != then)}
        out = self.call(torch.Tensor.to, (tensor, dtype or tensor.dtype), form, then)
        if now != then:
            (self.refuse if behind else self.wait)("copy to GPU" if then else "copy to host")
            mark(then, out)
        return out


class Operations(TorchDispatchMode):
    """Each operation: its tensors' devices, and what it waits for."""

    def __init__(self, machine):
        super().__init__()
        self.machine = machine

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, packet, graph = kwargs or {}, func.overloadpacket, self.machine.graph
        used = storages(args, kwargs)
        gpu = {key: storage for key, storage in used.items() if getattr(storage, "gpu", False)}
        if gpu:
            self.check(str(func).removeprefix("aten."), packet, args, kwargs)
        if packet is aten.copy_:
            target, source, *_ = args
            if self.machine.inside[-1] == "deepcopy":
                mark(on_gpu(source), target)
            if on_gpu(target) != on_gpu(source) and source.numel():
                self.machine.wait("copy to host" if on_gpu(source) else "copy to GPU")
        out = func(*args, **kwargs)
        here = bool(gpu) if used else self.machine.inside[-1]
        mark(here and (packet is not aten._to_copy or on_gpu(args[0])), out, known=used)
        if graph and (gpu or here):
            graph.saw(gpu, {key: storage for key, storage in storages(out).items() if key not in used})
        return out

    def check(self, name, packet, args, kwargs):
        """Check an operation with a tensor on the GPU."""
        machine, deterministic = self.machine, torch.are_deterministic_algorithms_enabled()
        if packet in UNORDERED and deterministic and args[0].is_floating_point():
            raise Wrong(f"{name} has no deterministic implementation on cuda:0")
        if packet not in MIXED and any(t.dim() and not on_gpu(t) for t in tensors(args, kwargs)):
            raise Wrong(f"{name}: tensors on cuda:0 and on cpu")
        if packet in WAITS or packet is aten.repeat_interleave and kwargs.get("output_size") is None:
            machine.wait(name)
        if packet in INDEXING:
            chosen = [index for index in args[1] if index is not None]
            filled = packet is not aten.index and args[2].numel() == 1 and len(chosen) == 1  # masked_fill
            if any(index.dtype in (torch.bool, torch.uint8) for index in chosen) and not filled:
                machine.wait(f"{name} with a mask")
            if not on_gpu(args[0]):
                raise Wrong(f"{name}: a tensor on cpu with an index on cuda:0")
            if not all(on_gpu(index) for index in chosen):
                machine.wait(f"{name} copies an index from the host")


class Graph:
    """A captured step; ``used`` are weak references to what it uses and did not make itself."""

    def __init__(self):
        self.registered, self.fresh, self.used, self.made = [], True, {}, {}

    def register_generator_state(self, generator):
        self.registered.append(generator)

    def saw(self, used, made):
        self.made |= made
        for key in used.keys() - self.made.keys():
            self.used.setdefault(key, weakref.ref(used[key]))

    def baked(self):
        """What a capture takes as it is: numbers by their value, tensors by their place."""
        stage = self.step.stage
        values = [
            value.data_ptr() if isinstance(value, torch.Tensor) else value
            for group in stage.optimizer.param_groups for key, value in group.items() if key != "params"]
        return values, [(part.training, getattr(part, "momentum", None)) for part in stage.trained.modules()]

    def replay(self):
        if not self.fresh:
            if lost := sum(ref() is None for ref in self.used.values()):
                raise Wrong(f"{lost} tensors that the captured step uses were freed before a replay")
            if self.baked() != self.before:
                raise Wrong("the optimiser, a batch norm's momentum or a mode changed after the capture")
            self.step.losses.copy_(self.step.run(self.step.start))
        self.fresh = False


@contextlib.contextmanager
def pretended():
    """While open, there is a GPU, ``cuda:0``; gives its Machine."""
    machine, autocast = Machine(), torch.autocast
    stream = Mock(device=GPU, synchronize=lambda: machine.wait("synchronize"))
    grouped = torch.optim.Optimizer._group_tensors_by_device_and_dtype

    def regrouped(*args, **kwargs):  # C++ reads the CPU's device off tensors
        groups = grouped(*args, **kwargs).items()
        return {(GPU if lists[0][0].is_cuda else device, dtype): (lists, places)
                for (device, dtype), (lists, places) in groups}

    with contextlib.ExitStack() as stack:
        for owner, name, stand_in in (
                (torch.cuda, "is_available", lambda: True), (torch.cuda, "device_count", lambda: 1),
                (torch.cuda, "get_device_name", lambda device: "a pretended GPU"),
                (torch.cuda, "current_stream", lambda device=None: stream),
                (torch.cuda, "stream", contextlib.nullcontext), (torch.cuda, "Stream", lambda device: stream),
                (torch.cuda, "CUDAGraph", Graph), (torch.cuda, "graph", machine.capture),
                (torch, "Generator", Generator),
                (torch, "autocast", lambda device, *args, **kwargs: autocast("cpu", *args, **kwargs)),
                (torch.optim.Optimizer, "_group_tensors_by_device_and_dtype", staticmethod(regrouped))):
            stack.enter_context(patch.object(owner, name, stand_in))
        stack.enter_context(machine)
        stack.enter_context(Operations(machine))
        yield machine
