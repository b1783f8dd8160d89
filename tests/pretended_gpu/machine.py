"""The pretended machine: where tensors lie, what its streams have done, and what the host waited for."""

import collections
import itertools
import traceback
import weakref
from pathlib import Path

import torch

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]


class Wrong(RuntimeError):
    """What CUDA would raise, or silently get wrong."""


def on_gpu(tensor):
    return getattr(tensor.untyped_storage(), "gpu", False) if tensor.layout is torch.strided else False


def mark(tensor, gpu):
    if isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided:
        tensor.untyped_storage().gpu = gpu


def tensors(*things):
    """All of them in lists, tuples and dicts of any depth."""
    found = []
    for thing in things:
        if isinstance(thing, torch.Tensor):
            found.append(thing)
        elif isinstance(thing, (list, tuple)):
            found += tensors(*thing)
        elif isinstance(thing, dict):
            found += tensors(*thing.values())
    return found


def is_cuda(device):
    return device is not None and torch.device(device).type == "cuda"


def place():
    """The innermost line of the project that is under way."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and "pretended_gpu" not in path.parts and ".venv" not in path.parts:
            return f"{path.relative_to(ROOT)}:{frame.lineno}"
    return "?"


class Stream:
    """A queue of operations; ``now`` counts them."""

    def __init__(self, device=None, priority=0):
        self.device = GPU
        self.now = 0
        self.seen = collections.Counter()  # {stream: how far into it this one has waited}

    def wait_stream(self, other):
        for stream, time in (*other.seen.items(), (other, other.now)):
            self.seen[stream] = max(self.seen[stream], time)

    def synchronize(self):
        Machine.it.wait("synchronize", self)


class Machine:
    """The one that is pretended now.

    Attributes:
        graph: being captured, if any.
        host: how far into each stream the host has waited.
        waits: {(what, line): how often} the host waited for the GPU or copied to it.
        launches: operations so far.
        captures: names of the stages whose step was captured, in their order.
    """

    it = None

    def __init__(self):
        self.default = self.current = Stream()
        self.host = Stream()
        self.streams = weakref.WeakSet([self.default])
        self.graph = None
        self.waits = collections.Counter()
        self.launches = 0
        self.captures = []
        Machine.it = self

    def wait(self, what, stream=None):
        """The host waits for a stream of the GPU."""
        if self.graph:
            raise Wrong(f"{what} while capturing, at {place()}")
        self.waits[what, place()] += 1
        self.host_waits(stream or self.current)

    def copies_to_gpu(self, what="a copy from the host"):
        if self.graph:
            raise Wrong(f"{what} while capturing, at {place()}")
        self.waits["copy to GPU", place()] += 1

    def host_waits(self, stream):
        for other in (self.host, *self.streams):
            other.wait_stream(stream)

    def leaves(self, source, copied):
        """A copy to the host that nothing waits for begins."""
        if self.graph:
            raise Wrong(f"copy to host while capturing, at {place()}")
        self.ran("copy", [source.untyped_storage()], [])
        copied.untyped_storage().arrives = self.current, self.current.now

    def host_reads(self, tensor):
        """What the host reads of the GPU has arrived."""
        if tensor.layout is torch.strided and (arrives := getattr(tensor.untyped_storage(), "arrives", None)):
            stream, time = arrives
            if self.host.seen[stream] < time:
                raise Wrong(f"the host reads a copy that is still under way, at {place()}")

    def ran(self, name, read, written):
        """An operation on the current stream: it uses nothing of another stream's that was not waited for."""
        me = self.current
        self.streams.add(me)
        me.now += 1
        self.launches += 1
        for storage in read:
            stream, time = getattr(storage, "written", (me, 0))
            if stream is not me and me.seen[stream] < time:
                raise Wrong(f"{name} reads what another stream writes and was not waited for, at {place()}")
            storage.__dict__.setdefault("readers", {})[me] = me.now
        for storage in written:
            for stream, time in itertools.chain(
                getattr(storage, "readers", {}).items(), [getattr(storage, "written", (me, 0))]
            ):
                if stream is not me and me.seen[stream] < time:
                    raise Wrong(f"{name} writes what another stream still uses, at {place()}")
            storage.written, storage.readers = (me, me.now), {}


PlainGenerator = torch.Generator


class Generator(PlainGenerator):
    """A CPU's generator that says it is the GPU's where it was asked to be."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        if is_cuda(device) and Machine.it.graph:
            raise Wrong(f"a generator is made while capturing, at {place()}")
        made.place = GPU if is_cuda(device) else CPU
        made.captured = False  # by a capture that failed: torch 2.11 never lets go of its state
        return made

    @property
    def device(self):
        return self.place

    def guarded(self, name, *args):
        if self.place == GPU and Machine.it.graph:
            raise Wrong(f"Generator.{name} while capturing, at {place()}")
        return getattr(PlainGenerator, name)(self, *args)

    def manual_seed(self, seed):
        self.guarded("manual_seed", seed)
        return self

    def clone_state(self):
        return Generator(self.place).set_state(self.get_state())

    def graphsafe_set_state(self, other):
        self.set_state(other.get_state())
        self.captured = other.captured

    def get_state(self):
        return self.guarded("get_state")

    def set_state(self, state):
        if on_gpu(state):
            raise Wrong("Generator.set_state takes a ByteTensor of the CPU")
        self.guarded("set_state", state)
        return self
