"""RFD ("Image-Centric Dual Distillation", repository of December 2024), two phases (two_phase.py) with

    0.15 a b^2 DIST(h[old], t[old]) over x~, and the same over x, in both phases
    0.05 a b MSE(f(x), later stages(t's first stage(x))) in the first
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn import functional as F

from dataloaders.tasks import task_ranges
from learners.base import Losses
from learners.two_phase import TwoPhaseLearner, TwoPhaseSettings
from models import Classifier, HeadPairs
from utils.settings import Settings as CommonSettings
from utils.settings import setting

TEMPERATURE = 4.0  # of DIST; docs/successors.md, "RFD"


@dataclass
class RFDSettings(TwoPhaseSettings):
    dist_dreams_weight: float = setting(
        0.15, "method", "weight of DIST between logits for the old classes on dreams: RFD", low=0)
    dist_real_weight: float = setting(
        0.15, "method", "weight of DIST between logits for the old classes on real images: RFD", low=0)
    relay_weight: float = setting(
        0.05, "method",
        "weight of the relay, the distance between the student's features and those that its later stages "
        "make of the teacher's first stage: RFD", low=0)


def correlation(u: Tensor, v: Tensor) -> Tensor:
    """Return Pearson's correlation [N] of the rows of u and v [N, D]; 0 if a row does not vary."""
    u, v = u - u.mean(1, keepdim=True), v - v.mean(1, keepdim=True)
    return (u * v).sum(1) / (vector_norm(u, dim=1) * vector_norm(v, dim=1) + 1e-8)


def dist(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return DIST (Huang et al. 2022) of logits [B, K], without a factor T^2: 1 - mean correlation over
    images, and the same over classes. docs/successors.md, "RFD"."""
    p, q = F.softmax(student / TEMPERATURE, 1), F.softmax(teacher / TEMPERATURE, 1)
    return 1 - correlation(p, q).mean(), 1 - correlation(p.T, q.T).mean()


class RFD(TwoPhaseLearner):
    """docs/successors.md, "RFD". The head of each task is two linear layers."""

    learner_type = "datafree"
    unread = ("mu", "temp")
    Settings = RFDSettings
    settings: RFDSettings

    @classmethod
    def new_model(cls, settings: CommonSettings) -> Classifier:
        model = super().new_model(settings)
        model.last = HeadPairs(model.feature_size, task_ranges(settings, whole=True))
        return model

    def term_factors(self, a: float, b: float) -> dict[str, float]:
        return {
            "dist dreams": self.settings.dist_dreams_weight * a * b**2,
            "dist real": self.settings.dist_real_weight * a * b**2,
            "relay": self.settings.relay_weight * a * b,
        }

    def terms(self, x: Tensor, f: Tensor, h: Tensor, h_dream: Tensor, t_dream: Tensor) -> Losses:
        # This moves the later stages' running statistics once more.
        relayed = self.model.features_from(self.frozen_teacher.first_stage(x))
        relay = self.factor["relay"] * F.mse_loss(f, relayed)
        return {**self.head_terms(x, h, h_dream, t_dream), "relay": relay}

    def head_terms(self, x: Tensor, h: Tensor, h_dream: Tensor, t_dream: Tensor) -> Losses:
        return {
            "dist dreams": self.factor["dist dreams"] * torch.stack(dist(h_dream, t_dream)).sum(),
            "dist real": self.factor["dist real"] * torch.stack(dist(h, self.teach(x))).sum(),
        }
