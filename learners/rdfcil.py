"""R-DFCIL (Gao et al., ECCV 2022), two phases (two_phase.py) with the terms

    0.15 a b mean |h(x~)[old] - t(x~)[old]| in both phases
    0.5 a b mean |angles(A_s f(x)) - angles(A_t f_t(x))| over triples of real images in the first
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from torch import Tensor, nn
from torch.nn import functional as F

from dataloaders.tasks import Task
from learners.base import Losses
from learners.two_phase import TwoPhaseLearner, TwoPhaseSettings
from models import Classifier, Generator
from utils.settings import setting
from utils.streams import Streams


@dataclass
class RDFCILSettings(TwoPhaseSettings):
    old_logits_weight: float = setting(
        0.15, "method", "weight of the distance between logits for the old classes on dreams: RDFCIL, CwD",
        low=0)
    angle_weight: float = setting(
        0.5, "method", "weight of the distance between angles among real images: RDFCIL, CwD", low=0)


def angles(points: Tensor) -> Tensor:
    """Return cosines [B, B, B]: at each point i of points [B, D], between the directions to j and to k; 0 if
    two of them are equal."""
    directions = F.normalize(points.unsqueeze(0) - points.unsqueeze(1), dim=2)
    return directions @ directions.transpose(1, 2)


def angle_distance(points: Tensor, others: Tensor) -> Tensor:
    """Return the mean absolute difference of ``angles`` over all B^3 triples."""
    return F.l1_loss(angles(points), angles(others))


class RDFCIL(TwoPhaseLearner):
    """docs/successors.md, "R-DFCIL".

    Attributes:
        student_projection, teacher_projection: A_s and A_t, from D to 2 D features; new for every task.
    """

    learner_type = "datafree"
    unread = ("mu", "temp")
    first_task = "cross-entropy over the seen classes, for the epochs of the first phase"
    Settings = RDFCILSettings
    settings: RDFCILSettings

    def __init__(self, settings: RDFCILSettings, streams: Streams, model: Classifier, generator: Generator):
        super().__init__(settings, streams, model, generator)
        with streams.weights("projections"):
            self.student_projection, self.teacher_projection = self.projections()

    def projections(self) -> tuple[nn.Linear, nn.Linear]:
        size = self.model.feature_size
        return nn.Linear(size, 2 * size), nn.Linear(size, 2 * size)

    def begin_task(self, task: Task) -> None:
        super().begin_task(task)
        with self.streams.weights("projections"):
            for mine, fresh in zip((self.student_projection, self.teacher_projection), self.projections()):
                mine.load_state_dict(fresh.state_dict())

    def learned(self) -> Iterator[nn.Parameter]:
        projections = nn.ModuleList([self.student_projection, self.teacher_projection])
        return chain(super().learned(), projections.parameters())

    def term_factors(self, a: float, b: float) -> dict[str, float]:
        own = self.settings
        return {"old logits": own.old_logits_weight * a * b, "angle": own.angle_weight * a * b}

    def terms(self, x: Tensor, f: Tensor, h: Tensor, h_dream: Tensor, t_dream: Tensor) -> Losses:
        f_t = self.frozen_teacher.features(x)
        angle = angle_distance(self.student_projection(f), self.teacher_projection(f_t))
        return {**self.head_terms(x, h, h_dream, t_dream), "angle": self.factor["angle"] * angle}

    def head_terms(self, x: Tensor, h: Tensor, h_dream: Tensor, t_dream: Tensor) -> Losses:
        return {"old logits": self.factor["old logits"] * F.l1_loss(h_dream, t_dream)}
