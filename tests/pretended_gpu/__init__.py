"""A GPU pretended on a CPU: real arithmetic, tensors that know whether they would lie on the GPU, and
everything that CUDA or a CUDA graph forbids raises ``Wrong``.

    with pretended() as machine:       # torch.cuda is there; device "cuda:0"
        ...
    machine.waits                      # what made the host wait for the GPU, by line

What it holds each operation to:

* device: tensors of both devices in one operation, a generator of another device, a GPU's tensor that is read
or written to a file
  as it is, a copy to the host that is read before it was waited for;
* ``--deterministic 1``: operations that have no deterministic implementation; * capture: whatever waits for
the GPU, copies to or from the host, makes or seeds a generator, or draws from one that is not
  registered with the graph; gradients that were there before the capture;
* a capture that failed: draws from the generators that were registered with it, as torch 2.11 refuses them; *
replay: a tensor that the captured step uses and that was freed; a setting of the optimiser, a batch norm's
momentum or a module's mode
  that changed, since a capture bakes them in;
* streams: an operation that uses what another stream wrote, or writes what it uses, and that was not waited
for.

A captured step runs once, for real, and that is its first replay; later replays run it again. What it can't
see: kernels, their speed and precision, cuDNN's choice, the caching allocator, threads of a DataLoader,
errors of the driver, autocast's list for CUDA (the CPU's is used).
"""

from .machine import GPU, Machine, Wrong
from .pretend import pretended

__all__ = ["GPU", "Machine", "Wrong", "pretended"]
