"""What is measured after a task, in one pass over the test images: accuracies and the confusion matrix."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dataloaders.coreset import rank_in_class
from dataloaders.tasks import Task
from learners import Learner
from utils.errors import RunError
from utils.files import on_cpu

# A class mean is of at most this many training images, as many as CIFAR-100 has test images of a class:
# measuring then takes twice as long as testing alone.
IMAGES_A_MEAN = 100


@torch.no_grad()
def measure(learner: Learner, tasks: Sequence[Task], top_k: int = 1,
            between: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Measure a learner after ``tasks``, all tasks so far. Uses no randomness and leaves the learner
    unchanged. ``between`` is called before the images of each task and may raise to stop.

    Returns accuracies in percent of test images, NaN if logits are not finite:
        by_task: on each task, among all seen classes. An image counts as right if its class has one of the
            ``top_k`` highest logits, as the published accuracy of the data set counts.
        by_task_local: the same among the task's own classes.
        top1, top5, ncm: over all test images, by the classifier and by the nearest class mean (class_means).
    Also returns ``images``, the number of test images of each task, and ``confusion``, [seen, seen] int64:
    how many test images of a class (row) have their highest logit at a class (column).
    """
    seen = tasks[-1].seen
    counts, rights = [], []
    confusion = torch.zeros(seen * seen, dtype=torch.long, device=tasks[0].test.labels.device)
    learner.eval()
    with learner.evaluating():
        means = class_means(learner, tasks)
        features: list[Tensor] = []
        hook = learner.model.last.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
        try:
            for task in tasks:
                between()
                right = torch.zeros(5, dtype=torch.float64, device=confusion.device)
                for images, labels in task.test.in_order():
                    features.clear()
                    logits = learner.predict(images)
                    if logits.dim() != 2 or logits.shape[1] < seen:
                        raise RunError(
                            f"{type(learner).__name__}.predict returned {[*logits.shape]}; "
                            f"it must return [{len(images)}, {seen} or more]")
                    right += torch.where(logits.isfinite().all(), 0.0, torch.nan)
                    hits = _hits(logits[:, :seen], labels, max(top_k, 5))
                    own = _hits(logits[:, task.old : task.seen], labels - task.old, top_k)
                    near = (F.normalize(features[-1].float()) @ means.T).argmax(1) == labels
                    right += torch.stack([
                        each.sum() for each in (hits[:, :top_k], own, hits[:, 0], hits[:, :5], near)])
                    pairs = labels * seen + logits[:, :seen].argmax(1)
                    confusion.index_add_(0, pairs, torch.ones_like(pairs))  # bincount would wait for a GPU
                rights.append(right)
                counts.append(len(task.test))
        finally:
            hook.remove()
    by_count, confusion = on_cpu((torch.stack(rights), confusion))
    by_task, local = (100 * by_count[:, :2] / torch.tensor(counts).unsqueeze(1)).T.tolist()
    top1, top5, ncm = (100 * by_count[:, 2:].sum(0) / sum(counts)).tolist()
    return {"by_task": by_task, "by_task_local": local, "images": counts, "top1": top1, "top5": top5,
            "ncm": ncm, "confusion": confusion.view(seen, seen)}


def _hits(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """[B, k or fewer]: whether an image's class is the one at each place of the ranking."""
    return logits.topk(min(k, logits.shape[1])).indices == labels.unsqueeze(1)


@torch.no_grad()
def class_means(learner: Learner, tasks: Sequence[Task]) -> Tensor:
    """[seen, D]: mean feature of the first IMAGES_A_MEAN training images of each seen class, without
    augmentation. Features and means have length 1 (Rebuffi et al. 2017, iCaRL, section 2.1), so that the
    nearest mean is the one with the largest product. The learner itself never sees these images again."""
    sums = torch.zeros(())
    for task in tasks:
        own = task.train[(task.train.labels >= task.old).nonzero().flatten()]
        few = own[(rank_in_class(own.labels) < IMAGES_A_MEAN).nonzero().flatten()]
        for images, labels in few.in_order():
            features = F.normalize(learner.model.features(images).float())
            sums = sums + F.one_hot(labels, tasks[-1].seen).T.to(features) @ features
    return F.normalize(sums)
