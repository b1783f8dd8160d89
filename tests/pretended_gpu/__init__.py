"""A GPU pretended on a CPU: real arithmetic on tensors that know whether they would lie on the GPU.

    with pretended() as machine:       # torch.cuda is there; device "cuda:0"
        ...
    machine.waits                      # {what: how often} the host waited for the GPU or copied to it

What CUDA or a CUDA graph forbids, or silently gets wrong, raises ``Wrong``. A captured step runs once, for
real, as its first replay; later replays run it again. What it can't see: kernels, their speed and precision,
streams, copies under way, memory, the driver's errors, autocast's list for CUDA.
"""

import contextlib
import sys
import weakref
from unittest.mock import patch

import torch

from .modes import GPU, Functions, Generator, Machine, Operations, Wrong

__all__ = ["GPU", "Wrong", "pretended"]


class Stream:
    device = GPU

    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass

    def synchronize(self):
        Machine.it.wait("synchronize")


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
def capture(graph, stream, capture_error_mode):
    machine, frame = Machine.it, sys._getframe(2)
    while type(frame.f_locals.get("self")).__name__ != "TrainingStep":
        frame = frame.f_back
    graph.step = frame.f_locals["self"]
    stage = graph.step.stage
    if any(p.grad is not None for group in stage.optimizer.param_groups for p in group["params"]):
        raise Wrong("gradients from before the capture: they would be accumulated into")
    graph.before, machine.graph = graph.baked(), graph
    try:
        yield
    except RuntimeError:
        raise RuntimeError("CUDA error: operation failed due to an error during capture")  # as torch  # noqa: B904
    finally:
        machine.graph = None
        graph.made.clear()
    machine.captures.append(stage.name)


@contextlib.contextmanager
def pretended():
    """While open, there is a GPU, ``cuda:0``; gives its Machine."""
    machine = Machine.it = Machine()
    functions, stream, autocast = Functions(machine), Stream(), torch.autocast
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
                (torch.cuda, "stream", contextlib.nullcontext), (torch.cuda, "Stream", Stream),
                (torch.cuda, "CUDAGraph", Graph), (torch.cuda, "graph", capture),
                (torch, "Generator", Generator),
                (torch, "autocast", lambda device, *args, **kwargs: autocast("cpu", *args, **kwargs)),
                (torch.optim.Optimizer, "_group_tensors_by_device_and_dtype", staticmethod(regrouped))):
            stack.enter_context(patch.object(owner, name, stand_in))
        stack.enter_context(functions)
        stack.enter_context(Operations(machine, functions))
        yield machine
