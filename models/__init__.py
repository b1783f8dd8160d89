"""The networks by the names that ``--model_name`` and ``--gen_model_name`` take."""

from .autoencoder import AUTOENCODERS, Autoencoder
from .frozen import Frozen, Observed, folded
from .generator import GENERATORS, Generator
from .resnet import RESNETS, ResNet

__all__ = [
    "AUTOENCODERS", "GENERATORS", "RESNETS", "Autoencoder", "Frozen", "Generator", "Observed", "ResNet", "folded", "image_generator", "image_sides"]


def image_sides(kind: str) -> dict[str, int]:
    """Pixels a side of the images that each generator or autoencoder makes, by name."""
    if kind == "autoencoder":
        return {name: side for name, (side, *_) in AUTOENCODERS.items()}
    return {name: start * 2 ** (len(channels) - 1) for name, (start, channels) in GENERATORS.items()}


def image_generator(kind: str, name: str) -> Generator | Autoencoder:
    """What makes old images, by ``--gen_model_type`` and ``--gen_model_name``."""
    return Autoencoder(*AUTOENCODERS[name]) if kind == "autoencoder" else Generator(*GENERATORS[name])
