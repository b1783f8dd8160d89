"""DGR: Deep Generative Replay (Shin et al. 2017), on images in [0, 1]:

    L = weight(y) CE(h[seen], y) over x and x~ + mu KD(h[old], t[old]) over x~
    L_G = weight(y) BCE of the pixels + KL(N(code) || N(0, I)) per pixel, over x and x~

weight is r for old classes and 1 - r for new ones, r = old / seen.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataloaders.tasks import Task
from learners.base import Learner, Losses, Stage, distillation
from models import Autoencoder, Classifier
from utils.errors import UserError
from utils.settings import Settings
from utils.streams import Streams


class Generative_Replay(Learner):
    """Table 1, "DGR"; mu = 1. The autoencoder of the task before draws x~. Model and autoencoder learn in the
    same step; they share no parameter, so one optimiser over both equals two.

    Attributes:
        generator: the autoencoder that learns. old_generator: frozen, as it was after the previous task.
    """

    learner_type = "dgr"
    generator_type = "autoencoder"
    keeps_generator = True
    normalised = False
    first_task = "cross-entropy over the seen classes, of images that are not normalised"
    generator: Autoencoder

    @classmethod
    def check(cls, settings: Settings) -> None:
        super().check(settings)
        if settings.load_model_dir:
            raise UserError(
                "--load_model_dir: Generative_Replay learns its autoencoder in the first task too; "
                "leave the flag out")

    def __init__(self, settings: Settings, streams: Streams, model: Classifier, generator: Autoencoder):
        super().__init__(settings, streams, model)
        self.generator = generator
        self.old_generator = copy.deepcopy(generator).requires_grad_(False)

    def stages(self, task: Task) -> list[Stage]:
        learn = self.learning(task, nn.ModuleList([self.model, self.generator]))
        learn.dreams = task.index > 0
        return [learn]

    def end_task(self, task: Task) -> None:
        super().end_task(task)
        self.old_generator.load_state_dict(self.generator.state_dict())

    @property
    def replayed(self) -> nn.Module:
        return self.old_generator

    def networks(self) -> dict[str, nn.Module]:
        return {**super().networks(), "generator": self.generator}

    def noise(self, count: int) -> Tensor:
        """Draw z ~ N(0, I), [count, latent dimensions]."""
        random = self.streams.noise
        return torch.randn(count, self.generator.latent, generator=random, device=random.device)

    @torch.no_grad()
    def dream(self, count: int) -> Tensor:
        """Return x~, fresh images of the old classes from the old generator."""
        return self.old_generator.decode(self.noise(count))

    def loss(self, x: Tensor, y: Tensor) -> Losses:
        old, seen, batch = self.old, self.seen, len(x)
        if not old:
            h = self.model(x)
            weight = torch.ones_like(h[:, 0])
            return {"classification": self.classification(h, y), **self.generator_loss(x, weight)}
        x_dream = self.dream(batch)
        t = self.teach(x_dream)
        x_all, y_all = torch.cat([x, x_dream]), torch.cat([y, t.argmax(1)])
        r = old / seen
        weight = torch.where(y_all < old, r, 1 - r)

        h = self.model(x_all)
        ce = F.cross_entropy(h[:, :seen], y_all, reduction="none")
        kd = distillation(h[batch:, :old], t, self.settings.temp)
        return {
            "classification": (weight * ce).mean(),
            "distillation": self.settings.mu * kd,
            **self.generator_loss(x_all, weight)}

    def generator_loss(self, x: Tensor, weight: Tensor) -> Losses:
        """Return L_G of images [N, 3, S, S] in [0, 1] with weight [N]."""
        mean, logvar = self.generator.encode(x)
        z = mean + torch.exp(logvar / 2) * self.noise(len(x))
        pixels = F.binary_cross_entropy_with_logits(self.generator.decode_logits(z), x, reduction="none")
        pixels = pixels.flatten(1).mean(1)
        divergence = (mean.square() + logvar.exp() - 1 - logvar).sum(1) / 2
        return {"reconstruction": (weight * pixels).mean(), "divergence": divergence.mean() / x[0].numel()}
