"""Parts of losses that several learners share."""

from torch import Tensor
from torch.nn import functional as F


def distillation(
    student: Tensor, teacher: Tensor, temperature: float, weight: Tensor | None = None,
) -> Tensor:
    """Return KD(s, t; T) = -mean_b weight_b sum_k softmax(t / T)_k ln softmax(s / T)_k, without a factor T^2.

    docs/specification.md, "Distillation". The student may have logits of more classes than the teacher; their
    target is 0.

    Args:
        student: [B, K or more]. teacher: [B, K]. weight: [B], 1 if it is left out.
    """
    target = F.softmax(teacher / temperature, 1)
    losses = -(target * F.log_softmax(student / temperature, 1)[:, : target.shape[1]]).sum(1)
    return (losses if weight is None else losses * weight).mean()


def inverse_frequency(counts: Tensor) -> Tensor:
    """Return the class weights [K] of ``--DW``, w_k = sum_j (n_j + 1) / ((n_k + 1) K), from the number of
    images of each class, ``counts`` [K]. docs/specification.md, "Protocol"."""
    more = counts + 1
    return more.sum() / (more * len(counts))
