"""Named random streams: no global random state, and a draw added to one never shifts another."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

NAMES = ("order", "augmentation", "noise")


def seed_of(*place: object) -> int:
    """A 63-bit seed made of, for example, (seed of the repeat, task, name)."""
    digest = hashlib.sha256("/".join(map(str, place)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class Streams:
    """One ``torch.Generator`` per name, reseeded from (seed of the repeat, task, name) for every task: the
    ``order`` of images, their ``augmentation``, and ``noise``, the generators' input."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.place = (0, 0)  # (seed of the repeat, task)
        self.order, self.augmentation, self.noise = (torch.Generator(device) for _ in NAMES)

    def start(self, seed: int, task: int) -> None:
        """Seed every stream for a task."""
        self.place = (seed, task)
        for name in NAMES:
            getattr(self, name).manual_seed(seed_of(seed, task, name))

    def once(self, name: str) -> torch.Generator:
        """A stream for one choice within a task; it starts anew every time it is asked for."""
        return torch.Generator(self.device).manual_seed(seed_of(*self.place, name))

    def weights(self, name: str) -> AbstractContextManager[None]:
        """While open, torch's initialisers draw on the CPU from a stream named for the task."""
        return global_state_seeded(seed_of(*self.place, name))

    def state_dict(self) -> dict[str, torch.Tensor]:
        states = {name: getattr(self, name).get_state() for name in NAMES}
        return {"place": torch.tensor(self.place), **states}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        seed, task = state["place"].tolist()
        self.place = (seed, task)
        for name in NAMES:
            getattr(self, name).set_state(state[name].cpu())


@contextmanager
def global_state_seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator for code that knows no other, and restore it afterwards. Weights are
    drawn from it, so that they are the same with or without a GPU."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
