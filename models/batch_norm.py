"""Batch norm that launches no more kernels than it needs."""

from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm2d(nn.BatchNorm2d):
    """Compute what torch's layer does without counting batches: nothing reads the count, and it costs one
    more kernel per layer and step. The buffer stays, so that state dicts are those of torch's layer."""

    def forward(self, x: Tensor) -> Tensor:
        if self.momentum is None or self.running_mean is None:  # the average over all batches needs the count
            return super().forward(x)
        statistics = self.running_mean, self.running_var
        return F.batch_norm(
            x, *statistics, self.weight, self.bias, self.training, self.momentum, self.eps)


NORMS = (nn.BatchNorm2d, BatchNorm2d)  # exactly these, because a subclass may compute something else
OBSERVED = (nn.BatchNorm2d, nn.SyncBatchNorm)  # and subclasses: the layers whose statistics dreams follow
