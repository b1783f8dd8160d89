"""What the recipes of golden numbers are made of: random numbers, and networks filled with them."""

from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

BATCH = 32


class Unknown(Exception):
    """A case that cannot be replayed."""


class Noted(dict):
    """A dictionary that notes what was read: the rest would go unchecked."""

    def __init__(self, values):
        super().__init__(values)
        self.unread = set(values)

    def __getitem__(self, name):
        self.unread.discard(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        return self[name] if name in self else default


@contextmanager
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


# Random numbers


def normal(seed, *shape):
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def enlarged(small, size=32):
    """Images [N, 3, S, S] with every pixel repeated until they have ``size``."""
    times = size // small.shape[-1]
    return small.repeat_interleave(times, 2).repeat_interleave(times, 3)


def images(seed, count=BATCH):
    return enlarged(normal(seed, count, 3, 4, 4))


def dreams(seed):
    return enlarged(normal(seed, BATCH, 3, 8, 8))


def whole(seed, low, high, count=BATCH):
    return torch.from_numpy(np.random.RandomState(seed).randint(low, high, count)).long()


def state(module):
    """The module's own tensors, in the order of its state dict."""
    tensors = module.state_dict()
    return {name: tensors[name] for name in tensors if not name.endswith("num_batches_tracked")}


@torch.no_grad()
def fill(tensors, seed):
    """Fill tensors, in their order, from one stream."""
    random = np.random.RandomState(seed)
    for name, tensor in tensors.items():
        shape = tuple(tensor.shape)
        if name.endswith("running_var"):
            values = random.uniform(0.5, 1.5, shape)
        elif tensor.ndim > 1:
            values = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = random.uniform(0.2, 0.6, shape)
        else:
            values = 0.1 * random.standard_normal(shape)
        tensor.copy_(torch.from_numpy(np.asarray(values)))


def fill_near(mine, theirs, seed):
    """Fill a model's tensors so that they begin near its teacher's."""
    fill(mine, seed)
    for name, tensor in theirs.items():
        mine[name].copy_(0.8 * tensor + 0.6 * mine[name] if tensor.ndim > 1 else tensor)


@torch.no_grad()
def calibrate(teacher, batch):
    """Take the running statistics of a batch; returns its features [B, D] in evaluation mode."""
    layers = [layer for layer in teacher.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0
    teacher.train().features(batch)
    for layer in layers:
        layer.momentum = 0.1
    return teacher.eval().features(batch)
