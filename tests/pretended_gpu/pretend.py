"""CUDA graphs, and torch.cuda for as long as a GPU is pretended."""

import contextlib
import sys
import weakref
from unittest.mock import patch

import torch

from .machine import GPU, Generator, Machine, Stream, Wrong
from .modes import Functions, Operations


class Graph:
    """A captured step; its run while capturing stands for the first replay.

    Attributes:
        used: weak references to what the step uses and did not make itself.
    """

    def __init__(self, *args):
        self.registered, self.step, self.fresh = [], None, True
        self.used, self.made = {}, {}

    def register_generator_state(self, generator):
        if generator.device.type != "cuda":
            raise Wrong("register_generator_state: a generator of the CPU")
        self.registered.append(generator)

    def saw(self, used, made):
        self.made.update({id(storage): storage for storage in made})
        for storage in used:
            if id(storage) not in self.made:
                self.used.setdefault(id(storage), weakref.ref(storage))

    def baked(self):
        """What a capture takes as it is: numbers by their value, tensors by their place."""
        stage = self.step.stage
        values = [
            (key, value.data_ptr() if isinstance(value, torch.Tensor) else value)
            for group in stage.optimizer.param_groups for key, value in group.items() if key != "params"]
        modes = [(module.training, getattr(module, "momentum", None), getattr(module, "eps", None))
                 for module in stage.trained.modules()]
        return repr(values), modes

    def replay(self):
        if self.fresh:
            self.fresh = False
            return
        if lost := sum(ref() is None for ref in self.used.values()):
            raise Wrong(f"{lost} tensors that the captured step uses were freed before a replay")
        if self.baked() != self.before:
            raise Wrong("the optimiser, a batch norm's momentum or a module's mode changed after the capture")
        self.step.losses.copy_(self.step.run(self.step.start))


def step_under_way():
    """The TrainingStep that captures."""
    frame = sys._getframe(2)
    while type(frame.f_locals.get("self")).__name__ != "TrainingStep":
        frame = frame.f_back
    return frame.f_locals["self"]


@contextlib.contextmanager
def capture(graph, pool=None, stream=None, capture_error_mode="global", **more):
    machine, step = Machine.it, step_under_way()
    if machine.current is machine.default and stream is None:
        raise Wrong("a capture on the default stream")
    parameters = [p for group in step.stage.optimizer.param_groups for p in group["params"]]
    if any(p.grad is not None for p in parameters):
        raise Wrong("gradients from before the capture: they would be accumulated into")
    machine.host_waits(machine.default)
    before, machine.graph = machine.current, graph
    machine.current = stream or machine.current
    graph.step = step
    graph.before = graph.baked()
    try:
        yield
    except RuntimeError:
        for generator in graph.registered:
            generator.captured = True
        raise RuntimeError("CUDA error: operation failed due to an error during capture")  # as torch  # noqa: B904
    finally:
        machine.graph, machine.current = None, before
        graph.made.clear()
    if any(p.grad is not None and not p.grad.is_cuda for p in parameters):
        raise Wrong("a gradient lies on the CPU")
    machine.captures.append(step.stage.name)


@contextlib.contextmanager
def on_stream(stream):
    machine = Machine.it
    before, machine.current = machine.current, stream or machine.current
    try:
        yield
    finally:
        machine.current = before


def grouped(plain):
    """An optimiser's tensors by device and dtype, which C++ reads off: there they are the CPU's."""

    def by_device(*args, **kwargs):
        found = plain(*args, **kwargs)
        return {(GPU if lists[0][0].is_cuda else device, dtype): (lists, places)
                for (device, dtype), (lists, places) in found.items()}

    return staticmethod(by_device)


@contextlib.contextmanager
def pretended():
    """While open, there is a GPU, ``cuda:0``; gives its Machine."""
    machine = Machine()
    functions = Functions(machine)
    autocast = torch.autocast

    def on_cpu(device_type, *args, **kwargs):
        return autocast("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    stand_ins = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "Stream": Stream,
        "stream": on_stream,
        "current_stream": lambda device=None: machine.current,
        "default_stream": lambda device=None: machine.default,
        "synchronize": lambda device=None: machine.wait("synchronize"),
        "empty_cache": lambda: None,
        "CUDAGraph": Graph,
        "graph": capture,
        "is_current_stream_capturing": lambda: machine.graph is not None,
        "get_device_name": lambda device=None: "a pretended GPU",
        "max_memory_reserved": lambda device=None: 0,
        "get_device_capability": lambda device=None: (9, 0),
        "mem_get_info": lambda device=None: (80 * 2**30, 80 * 2**30),
    }
    with contextlib.ExitStack() as stack:
        for name, stand_in in stand_ins.items():
            stack.enter_context(patch.object(torch.cuda, name, stand_in))
        stack.enter_context(patch.object(torch, "Generator", Generator))
        group = "_group_tensors_by_device_and_dtype"
        by_device = grouped(getattr(torch.optim.Optimizer, group))
        stack.enter_context(patch.object(torch.optim.Optimizer, group, by_device))
        stack.enter_context(patch.object(torch, "autocast", on_cpu))
        stack.enter_context(functions)
        stack.enter_context(Operations(machine, functions))
        yield machine
