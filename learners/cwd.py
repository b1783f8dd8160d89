"""CwD (Wang et al., Neural Networks 184, 2025): R-DFCIL with two more terms,

    |M_T - M(x~)| + |S_T - S(x~)|, class means M and covariance S of features, in the generator's loss
    sum_old | |w_i| - mean_new |w| | + sum_new | |w_j| - mean_old |w| |, the heads' rows w, in both phases
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm

from dataloaders.tasks import Task
from learners.base import Losses
from learners.rdfcil import RDFCIL, RDFCILSettings
from models import Classifier, Generator
from utils.settings import setting
from utils.streams import Streams


@dataclass
class CwDSettings(RDFCILSettings):
    alignment_weight: float = setting(
        0.1, "method", "weight of the distance between the norms of old and new classes' heads: CwD", low=0)
    consistency_weight: float = setting(
        0.05, "method",
        "weight, in the generator's loss, of the distance of the dreams' class means and covariance from the "
        "teacher's: CwD", low=0)


def class_statistics(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (class means [classes, D], whether each class is present [classes], pooled covariance [D, D])
    of features [N, D] with ``labels`` [N]. The mean of an absent class is 0."""
    with torch.autocast(features.device.type, enabled=False):
        mine = (labels.unsqueeze(1) == torch.arange(classes, device=labels.device)).to(features.dtype)
        count = mine.sum(0)
        means = mine.T @ features / count.clamp(min=1).unsqueeze(1)
        deviations = features - means[labels]
        deviations = deviations - deviations.mean(0)
        return means, count > 0, deviations.T @ deviations / (len(features) - 1)


def alignment(weight: Tensor, old: int) -> Tensor:
    """Return the summed distances of the norms of old rows of weight [seen, D] from the mean norm of the new
    ones, and of new rows from that of the old ones."""
    norms = vector_norm(weight, dim=1)
    before, new = norms[:old], norms[old:]
    return (before - new.mean()).abs().sum() + (new - before.mean()).abs().sum()


class CwD(RDFCIL):
    """docs/successors.md, "CwD".

    Attributes:
        means, has_mean, covariance: the teacher's class means [classes, D], whether it has one [classes], and
            its pooled covariance [D, D]; kept from task to task.
        past_means, past_covariance: running ones of the dreams. came_up: [classes] whether they had a class.
    """

    unread = ("mu", "temp")
    Settings = CwDSettings
    settings: CwDSettings
    balance_added = 1e-6
    past_share = 0.9  # the share of earlier batches in running statistics
    means: Tensor
    has_mean: Tensor
    covariance: Tensor
    past_means: Tensor
    past_covariance: Tensor
    came_up: Tensor

    def __init__(self, settings: CwDSettings, streams: Streams, model: Classifier, generator: Generator):
        super().__init__(settings, streams, model, generator)
        classes, size = self.ranges[-1].stop, model.feature_size
        for name in ("means", "past_means"):
            self.register_buffer(name, torch.zeros(classes, size))
        for name in ("covariance", "past_covariance"):
            self.register_buffer(name, torch.zeros(size, size))
        for name in ("has_mean", "came_up"):
            self.register_buffer(name, torch.zeros(classes, dtype=torch.bool))

    def begin_task(self, task: Task) -> None:
        super().begin_task(task)
        for past in (self.past_means, self.past_covariance, self.came_up):
            past.zero_()

    def end_task(self, task: Task) -> None:
        self.keep_statistics(task)
        super().end_task(task)

    def stored_values(self) -> int:
        return super().stored_values() + self.means[: self.seen].numel() + self.covariance.numel()

    @torch.no_grad()
    def keep_statistics(self, task: Task) -> None:
        """Take the statistics of the model's features of the task's images and of dreams, which the teacher
        labels."""
        batches, features, labels = self.batches(lambda: self.data(task)), [], []
        with self.evaluating():
            for start in batches.starts(0):
                x, y = batches.load(start)
                features.append(self.model.features(x))
                labels.append(y)
            for _ in range(task.old // (task.seen - task.old) * len(labels)):
                x = self.dream(self.settings.batch_size)
                features.append(self.model.features(x))
                labels.append(self.teach(x).argmax(1))
            means, present, covariance = class_statistics(torch.cat(features), torch.cat(labels), task.seen)
        self.means[: task.seen], self.has_mean[: task.seen] = means, present
        self.covariance.copy_(covariance)

    def dream_terms(self, f: Tensor, h: Tensor) -> Losses:
        return {"consistency": self.settings.consistency_weight * self.consistency(f, h.argmax(1))}

    def consistency(self, f: Tensor, labels: Tensor) -> Tensor:
        """Return the distance of the dreams' statistics from the teacher's. Once every old class has come up,
        the dreams' are running ones, to which each batch contributes a tenth."""
        old = self.old
        past_means, came_up, target = self.past_means[:old], self.came_up[:old], self.means[:old]
        means, present, covariance = class_statistics(f, labels, old)
        running, new = came_up.all(), 1 - self.past_share
        means = torch.where(running, past_means.lerp(means, new), means)
        covariance = torch.where(running, self.past_covariance.lerp(covariance, new), covariance)
        compared = (present & self.has_mean[:old]).unsqueeze(1)
        distance = vector_norm(torch.where(compared, target - means, 0))
        distance = distance + vector_norm(self.covariance - covariance)
        with torch.no_grad():
            past_means.copy_(torch.where(present.unsqueeze(1), means, past_means))
            self.past_covariance.copy_(covariance)
            came_up.logical_or_(present)
        return distance

    def term_factors(self, a: float, b: float) -> dict[str, float]:
        return {**super().term_factors(a, b), "alignment": self.settings.alignment_weight}

    def head_terms(self, x: Tensor, h: Tensor, h_dream: Tensor, t_dream: Tensor) -> Losses:
        aligned = self.factor["alignment"] * alignment(self.model.last.weight[: self.seen], self.old)
        return {**super().head_terms(x, h, h_dream, t_dream), "alignment": aligned}
