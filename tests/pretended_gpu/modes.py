"""What watches: a function mode for what Python calls, a dispatch mode for what is computed, backward
included."""

import sys

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .machine import CPU, GPU, Wrong, is_cuda, mark, on_gpu, place, tensors

aten = torch.ops.aten

# The shape of their result, or the host, depends on data: the GPU is waited for.
WAITS = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten._unique,
    aten.unique_dim, aten.unique_consecutive, aten.unique_dim_consecutive, aten.bincount, aten.equal,
    aten.is_nonzero, aten.item, aten.histc, aten.multinomial, aten.combinations, aten._linalg_svd,
    aten._linalg_eigh, aten.linalg_eig,
}
# Refused with ``--deterministic 1``: on a GPU they add up in any order (torch.use_deterministic_algorithms
# lists them).
UNORDERED = {
    aten._adaptive_avg_pool2d_backward, aten.adaptive_max_pool2d_backward,
    aten.upsample_bilinear2d_backward, aten.upsample_bicubic2d_backward, aten.reflection_pad1d_backward,
    aten.reflection_pad2d_backward, aten.replication_pad2d_backward, aten.nll_loss2d_forward,
    aten.nll_loss2d_backward, aten.put_, aten.histc, aten.kthvalue, aten.grid_sampler_2d_backward,
    aten.cumsum,
}
# They take tensors of both devices by nature.
MIXED = {
    aten.copy_, aten._to_copy, aten.index, aten.index_put_, aten.index_put, aten._index_put_impl_,
    aten.set_, aten._has_same_storage_numel,
}
INDEXING = (aten.index, aten.index_put_, aten.index_put, aten._index_put_impl_)
RANDOM = {
    "rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "rand_like",
    "randn_like", "randint_like", "uniform_", "normal_", "random_", "bernoulli_", "exponential_",
    "dropout",
}


class Functions(TorchFunctionMode):
    """Devices are asked for and told here, and tensors cross between them."""

    def __init__(self, machine):
        self.machine = machine
        self.inside = [False]  # whether what an operation under way makes without a device lies on the GPU

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name == "__get__":
            return self.attribute(func, args)
        mine = tensors(args, kwargs)
        gpu = [tensor for tensor in mine if on_gpu(tensor)]
        if name == "untyped_storage" and sys._getframe(1).f_code.co_name == "_typed_storage":
            name = "save"  # this is how torch.save comes by the bytes
        if name in ("numpy", "save") and not gpu:
            self.machine.host_reads(args[0])
        if name == "pin_memory" and mine and not gpu:
            pinned = args[0].clone()
            pinned.untyped_storage().pinned = True
            return pinned
        if name in ("to", "cpu", "cuda") and mine:
            return self.to(func, name, mine[0], args[1:], kwargs)
        if gpu:
            if name in ("numpy", "save", "__array__", "__array_wrap__", "pin_memory", "share_memory_"):
                raise Wrong(f"{name} of a tensor on cuda:0, at {place()}")
            if name == "tolist":
                self.machine.wait("tolist")
            if name == "one_hot":
                return self.one_hot(func, args, kwargs)
        asked = kwargs.get("device")
        if asked is not None:
            kwargs["device"] = CPU
        here = is_cuda(asked) if asked is not None else bool(gpu)
        if name in RANDOM:
            self.check_random(name, args, kwargs, here)
        self.inside.append("deepcopy" if name == "__deepcopy__" and gpu else here)
        try:
            out = func(*args, **kwargs)
        finally:
            self.inside.pop()
        if here and name in ("tensor", "as_tensor", "scalar_tensor") and not gpu:
            self.machine.copies_to_gpu(f"torch.{name}")
        if here:
            known = {id(tensor.untyped_storage()) for tensor in mine if tensor.layout is torch.strided}
            for tensor in tensors(out):
                if id(tensor.untyped_storage()) not in known:
                    mark(tensor, True)
        return out

    def attribute(self, func, args):
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        if owner == "device" and on_gpu(args[0]):
            return GPU
        if owner in ("is_cuda", "is_cpu"):
            return on_gpu(args[0]) == (owner == "is_cuda")
        return func(*args)

    def one_hot(self, func, args, kwargs):
        """It looks at the labels only where the number of classes is left out."""
        labels, classes = [*args, *kwargs.values(), -1][:2]
        if classes == -1:
            self.machine.wait("one_hot without a number of classes")
            return func(*args, **kwargs)
        with self:
            zeros = torch.zeros(*labels.shape, classes, dtype=torch.long, device=GPU)
            return zeros.scatter_(-1, labels.unsqueeze(-1), 1)

    def check_random(self, name, args, kwargs, here):
        random = kwargs.get("generator") or next((x for x in args if isinstance(x, torch.Generator)), None)
        if random is None:
            return
        if (random.device.type == "cuda") != here:
            raise Wrong(f"{name}: a generator of {random.device} for a tensor elsewhere, at {place()}")
        if here and random.captured and not self.machine.graph:
            raise Wrong(f"{name}: Offset increment outside graph capture encountered unexpectedly")
        if here and self.machine.graph and random not in self.machine.graph.registered:
            raise Wrong(f"{name} draws from a generator that is not registered with the graph, at {place()}")

    def to(self, func, name, tensor, args, kwargs):
        """``to``, ``cpu`` and ``cuda``, with all their forms of arguments."""
        device, rest = kwargs.pop("device", None), []
        if name != "to":
            device, args = name, ()
        elif args and args[0] is None:  # for a device: where it lies
            args = args[1:]
        for value in args:
            if isinstance(value, (torch.device, str)):
                device = value
            elif isinstance(value, torch.Tensor):
                device, rest = GPU if on_gpu(value) else CPU, [*rest, value.dtype]
            else:
                rest.append(value)
        if rest and (rest[0] is None or isinstance(rest[0], bool)):  # what follows a device
            names = ("dtype", "non_blocking", "copy") if rest[0] is None else ("non_blocking", "copy")
            kwargs.update({key: value for key, value in zip(names, rest) if value is not None})
            rest = []
        now, then = on_gpu(tensor), on_gpu(tensor) if device is None else is_cuda(device)
        behind = now and not then and kwargs.get("non_blocking")
        if now and not then and not behind:
            self.machine.wait("copy to host")
        elif then and not now:
            if not (kwargs.get("non_blocking") and getattr(tensor.untyped_storage(), "pinned", False)):
                self.machine.copies_to_gpu()
        elif now == then and not rest and not kwargs:
            return tensor
        self.inside.append(then)
        try:
            out = torch.Tensor.to(tensor, *rest, **(kwargs if now == then else {**kwargs, "copy": True}))
        finally:
            self.inside.pop()
        if behind:
            self.machine.leaves(tensor, out)
        if now != then:
            mark(out, then)
            if then:
                self.machine.ran("copy", [], [out.untyped_storage()])
        return out


class Operations(TorchDispatchMode):
    """Each operation: its tensors' devices, what it waits for, what it reads and writes."""

    def __init__(self, machine, functions):
        super().__init__()
        self.machine, self.functions = machine, functions

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, packet, machine = kwargs or {}, func.overloadpacket, self.machine
        mine = [tensor for tensor in tensors(args, kwargs) if tensor.layout is torch.strided]
        gpu = [tensor for tensor in mine if on_gpu(tensor)]
        name = str(func).removeprefix("aten.")
        if not func.is_view:
            for tensor in mine:
                machine.host_reads(tensor)
        if gpu:
            self.check(name, packet, args, kwargs, mine, gpu)
        if packet is aten.copy_:
            self.copy(args)
        out = func(*args, **kwargs)
        known = {id(tensor.untyped_storage()) for tensor in mine}
        made = [tensor for tensor in tensors(out)
                if tensor.layout is torch.strided and id(tensor.untyped_storage()) not in known]
        here = bool(gpu) if mine else self.functions.inside[-1]
        if packet is aten._to_copy:
            here = on_gpu(args[0])
        for tensor in made:
            mark(tensor, here)
        if (gpu or here and made) and not func.is_view and packet not in (aten.detach, aten.set_):
            written = self.written(func, args, mine) + [tensor.untyped_storage() for tensor in made if here]
            read = [tensor.untyped_storage() for tensor in gpu]
            machine.ran(name, read, written)
            if machine.graph:
                machine.graph.saw([*read, *written], [tensor.untyped_storage() for tensor in made])
        return out

    def check(self, name, packet, args, kwargs, mine, gpu):
        """An operation with a tensor on the GPU."""
        machine = self.machine
        ordered = torch.are_deterministic_algorithms_enabled() and gpu[0].is_floating_point()
        if packet in UNORDERED and ordered:
            raise Wrong(f"{name} has no deterministic implementation on cuda:0, at {place()}")
        if len(gpu) < len(mine) and packet not in MIXED:
            if packet in (aten.cat, aten.stack) or any(tensor.dim() for tensor in mine if not on_gpu(tensor)):
                raise Wrong(f"{name}: tensors on cuda:0 and on cpu, at {place()}")
        if packet in WAITS or packet is aten.repeat_interleave and kwargs.get("output_size") is None:
            machine.wait(name)
        if packet in INDEXING:
            chosen = [index for index in args[1] if index is not None]
            masks = [index for index in chosen if index.dtype in (torch.bool, torch.uint8)]
            # A masked_fill waits for nothing.
            filled = packet is not aten.index and args[2].numel() == 1 and len(chosen) == 1
            if masks and not filled:
                machine.wait(f"{name} with a mask")
            if not on_gpu(args[0]):
                raise Wrong(f"{name}: a tensor on cpu with an index on cuda:0, at {place()}")
            if any(not on_gpu(index) for index in chosen):
                machine.copies_to_gpu(f"{name} copies an index from the host")

    def copy(self, args):
        if self.functions.inside[-1] == "deepcopy":
            mark(args[0], on_gpu(args[1]))
        if on_gpu(args[0]) != on_gpu(args[1]) and args[1].numel():
            if on_gpu(args[1]):
                self.machine.wait("copy to host")
            else:
                self.machine.copies_to_gpu()

    @staticmethod
    def written(func, args, mine):
        """The storages that an operation in place writes."""
        if not func._schema.is_mutable or not args or not mine:
            return []
        if isinstance(args[0], torch.Tensor):
            return [args[0].untyped_storage()]
        return [tensor.untyped_storage() for tensor in tensors(args) if on_gpu(tensor)]
