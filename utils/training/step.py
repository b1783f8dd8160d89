"""One step of any stage: load, loss, gradients, optimiser. On a GPU captured as a CUDA graph and replayed."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from learners import Stage
from utils.errors import RunError
from utils.streams import Streams
from utils.training.device import device_failure

EAGER_STEPS = 3  # before a capture: libraries choose their kernels, the optimiser makes its state


@functools.cache
def capture_stream(beside: torch.cuda.Stream) -> torch.cuda.Stream:
    """One for all stages that run on a stream: libraries keep a workspace for every stream they have seen."""
    return torch.cuda.Stream(beside.device)


class TrainingStep:
    """A step of a stage, from what ``stage.batches.starts`` gives; call it once for each. ``run`` is the step, the rest captures and
    replays it.

    Args:
        bf16: autocast to bfloat16, as torch's autocast chooses the operations.
        graph: capture the whole step as a CUDA graph; needs a GPU. The first EAGER_STEPS run as they are; a step whose
            learning rate is another than the captured one is captured again.
        fall_back: told in a line why a capture failed, and the steps then run without one; where it is left out, that is a RunError.

    Attributes:
        names: of the losses, once a step has run.
    """

    def __init__(self, stage: Stage, streams: Streams, bf16: bool = False, graph: bool = False,
                 fall_back: Callable[[str], None] | None = None):
        self.stage = stage
        self.streams = streams
        self.bf16 = bf16
        self.fall_back = fall_back
        self.names: Sequence[str] = ()
        self.eager_left = EAGER_STEPS
        self.side = capture_stream(torch.cuda.current_stream(streams.device)) if graph else None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.rates: list[float] = []  # of the captured step, see plain_rates(); as are the next two
        self.start: list[Tensor] = []
        self.losses = torch.empty(0)

    def __call__(self, start: Sequence[Tensor]) -> Tensor:
        """One step; the losses, [number of names]."""
        if self.side is None:
            return self.run(start)
        side = self.side
        side.wait_stream(torch.cuda.current_stream(self.streams.device))
        with torch.cuda.stream(side):
            if self.eager_left:
                self.eager_left -= 1
                losses = self.run(start)
            else:
                losses = self.replay(start)
        torch.cuda.current_stream(self.streams.device).wait_stream(side)
        return losses

    def run(self, start: Sequence[Tensor]) -> Tensor:
        """The step itself."""
        values = self.losses_of(start)
        self.stage.optimizer.zero_grad()
        values.sum().backward()
        self.stage.optimizer.step()
        return values.detach()

    def losses_of(self, start: Sequence[Tensor]) -> Tensor:
        """The losses, [number of names]; their sum is minimised."""
        with torch.autocast(self.streams.device.type, torch.bfloat16, enabled=self.bf16):
            losses = self.stage.loss(*self.stage.batches.load(start))
        if not self.names:
            self.stage.check(losses)
        self.names = tuple(losses)
        return torch.stack(list(losses.values()))

    def replay(self, start: Sequence[Tensor]) -> Tensor:
        if self.graph is None or self.outdated():
            self.graph, self.losses = None, torch.empty(0)  # gives back the memory of the one before
            try:
                self.graph, self.rates = self.capture(start), self.plain_rates()
            except RunError as error:
                if self.fall_back is None:
                    raise
                self.fall_back(f"{error}, as this stage does now")
                self.side = None
                return self.run(start)
        for mine, given in zip(self.start, start):
            mine.copy_(given)
        self.graph.replay()
        return self.losses.clone()  # the next replay writes over them

    def plain_rates(self) -> list[float]:
        """The learning rates that a capture takes as they are: those that are no tensors."""
        return [group["lr"] for group in self.stage.optimizer.param_groups if not isinstance(group["lr"], Tensor)]

    def outdated(self) -> bool:
        """Whether the captured step computes with another learning rate than is set now."""
        return self.rates != self.plain_rates()

    def capture(self, start: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
        """Record the step; nothing of it is done yet."""
        graph, generators = torch.cuda.CUDAGraph(), (self.streams.augmentation, self.streams.noise)
        for generator in generators:
            graph.register_generator_state(generator)
        self.start = [tensor.clone() for tensor in start]
        self.stage.optimizer.zero_grad()  # gradients are to lie in the graph's own memory
        try:
            with torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local"):  # a DataLoader's threads keep running
                self.losses = self.run(self.start)
        except RuntimeError as error:
            for generator in generators:  # torch 2.11 leaves their states in the capture, where no other step can draw from them
                generator.graphsafe_set_state(generator.clone_state())
            cause = error.__context__ or error  # what went wrong; the end of the capture only says that something did
            for one in (cause, error):
                if device_failure(one, self.streams.device):  # such as no memory: without a capture it would fail too
                    raise one from None
            raise RunError(
                f"--graph: the stage {self.stage.name} cannot be captured as a CUDA graph ({str(cause).splitlines()[0]}); "
                "--graph off runs it step by step") from error
        return graph
