"""One step of any stage: load, loss, gradients, optimiser. A GPU replays it as a CUDA graph."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from learners import Stage
from utils.device import device_failure
from utils.errors import RunError
from utils.files import on_cpu
from utils.streams import Streams

EAGER_STEPS = 3  # before a capture: libraries choose their kernels and the optimiser creates its state


@functools.cache
def capture_stream(beside: torch.cuda.Stream) -> torch.cuda.Stream:
    """One stream for all captures, since libraries keep a workspace for every stream they have seen."""
    return torch.cuda.Stream(beside.device)


class TrainingStep:
    """A step of a stage; call it once for each item of ``stage.batches.starts``. ``run`` is the step itself,
    under autocast if ``bf16``. With ``graph``, on a GPU, it becomes a CUDA graph after EAGER_STEPS plain
    ones. If that fails, ``fall_back`` is told why and the steps run one by one; without it, RunError is
    raised."""

    def __init__(self, stage: Stage, streams: Streams, bf16: bool = False, graph: bool = False,
                 fall_back: Callable[[str], None] | None = None):
        self.stage, self.streams, self.bf16, self.fall_back = stage, streams, bf16, fall_back
        self.names: Sequence[str] = ()  # of the losses, once a step has run
        self.eager_left = EAGER_STEPS
        graph = graph and streams.device.type == "cuda"
        self.side = capture_stream(torch.cuda.current_stream(streams.device)) if graph else None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.start: Sequence[Tensor] = ()  # its inputs
        self.losses = torch.empty(0)  # its outputs

    def __call__(self, start: Sequence[Tensor]) -> Tensor:
        """Take one step and return its losses, [number of names]."""
        if not (side := self.side):
            return self.run(start)
        current = torch.cuda.current_stream(self.streams.device)
        side.wait_stream(current)
        with torch.cuda.stream(side):
            losses = self.run(start) if self.eager_left else self.replay(start)
        self.eager_left = max(self.eager_left - 1, 0)
        current.wait_stream(side)
        return losses

    def run(self, start: Sequence[Tensor]) -> Tensor:
        with torch.autocast(self.streams.device.type, torch.bfloat16, enabled=self.bf16):
            losses = self.stage.loss(*self.stage.batches.load(start))
        if not self.names:
            self.stage.check(losses)
        self.names = tuple(losses)
        values = torch.stack(list(losses.values()))
        self.stage.optimizer.zero_grad()
        values.sum().backward()
        self.stage.optimizer.step()
        return values.detach()

    def replay(self, start: Sequence[Tensor]) -> Tensor:
        if not self.graph:
            try:
                self.graph = self.capture(start)
            except RunError as error:
                if self.fall_back is None:
                    raise
                self.fall_back(f"{error}, as this stage does now")
                self.side = None
                return self.run(start)
        for captured, given in zip(self.start, start):
            captured.copy_(given)
        self.graph.replay()
        return self.losses.clone()  # the next replay overwrites them

    def capture(self, start: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
        """Record the step without doing it. Raises RunError if it cannot be captured."""
        graph, generators = torch.cuda.CUDAGraph(), (self.streams.augmentation, self.streams.noise)
        for generator in generators:
            graph.register_generator_state(generator)
        self.start = [tensor.clone() for tensor in start]
        self.stage.optimizer.zero_grad()  # gradients must lie in the graph's own memory
        try:
            # thread_local: the DataLoader's threads keep working
            with torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local"):
                self.losses = self.run(self.start)
        except RuntimeError as error:
            for generator in generators:  # torch 2.11 leaves their states in the capture
                generator.graphsafe_set_state(generator.clone_state())
            cause = error.__context__ or error  # the end of the capture only says that something went wrong
            for raised in (cause, error):
                if device_failure(raised):  # out of memory: it would fail without a capture, too
                    raise raised from None
            raise RunError(f"--graph: the stage {self.stage.name} cannot be captured as a CUDA graph "
                           f"({str(cause).splitlines()[0]}); --graph off runs it step by step") from error
        return graph


def not_finite(what: str) -> RunError:
    """The error of a loss, weight or accuracy that is not finite."""
    return RunError(f"{what}; it would happen again, so begin a run with a lower --lr in another --log_dir")


def mean_losses(by_step: Sequence[Tensor], names: Sequence[str], learner: nn.Module,
                where: str) -> dict[str, float]:
    """The mean of each loss over the steps of an epoch. Waits for the device once. Raises RunError if a loss
    or, after the last step, a weight is not finite."""
    weights = {name: value for name, value in learner.state_dict().items() if value.is_floating_point()}
    finite = torch.stack([value.isfinite().all() for value in weights.values()])
    losses, good = on_cpu((torch.stack(list(by_step)).double(), finite))
    if bad := (~losses.isfinite()).any(1).nonzero().flatten().tolist():
        shown = "  ".join(f"{name} {value:g}" for name, value in zip(names, losses[bad[0]].tolist()))
        raise not_finite(f"{where}: the losses of step {bad[0] + 1} of {len(losses)} are not finite: {shown}")
    if bad := [name for name, fine in zip(weights, good.tolist()) if not fine]:
        raise not_finite(f"{where}: {bad[0]} is not finite after the last step, though all losses were")
    return dict(zip(names, losses.mean(0).tolist()))
