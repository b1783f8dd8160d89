"""Batch norm that launches no more than it needs."""

from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm2d(nn.BatchNorm2d):
    """torch's, without counting batches: nothing reads the count, and it is one more kernel a layer and step. The buffer
    stays, so that state dicts are those of torch's layer."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum or 0.0, self.eps)
