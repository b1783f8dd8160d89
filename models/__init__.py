"""The networks by the names that ``--model_name`` and ``--gen_model_name`` take."""

from collections.abc import Callable

from models.autoencoder import AUTOENCODERS, Autoencoder
from models.folding import check_copies, folded
from models.frozen import Frozen, Observed
from models.generator import GENERATORS, Generator
from models.heads import HeadPairs, Heads
from models.rdfcil_resnet import RDFCILResNet, rdfcil_resnet
from models.resnet import RESNETS, Classifier, ResNet

__all__ = [
    "AUTOENCODERS", "FAMILIES", "GENERATORS", "RESNETS", "Autoencoder", "Classifier", "Frozen", "Generator",
    "HeadPairs", "Heads", "Observed", "RDFCILResNet", "ResNet", "check_copies", "classifier", "folded",
    "image_generator", "image_sides"]

# By --model_type: the published networks of ABD's code, and those of R-DFCIL's.
FAMILIES: dict[str, Callable[[str, int], Classifier]] = {
    "resnet": lambda name, classes: ResNet(RESNETS[name], classes),
    "rdfcil_resnet": rdfcil_resnet,
}


def classifier(kind: str, name: str, classes: int) -> Classifier:
    """The classifier of a ``--model_type`` and ``--model_name``, with ``classes`` outputs."""
    return FAMILIES[kind](name, classes)


def image_sides(kind: str) -> dict[str, int]:
    """The side, in pixels, of the images that each generator or autoencoder makes, by name."""
    if kind == "autoencoder":
        return {name: side for name, (side, *_) in AUTOENCODERS.items()}
    return {name: start * 2 ** (len(channels) - 1) for name, (start, channels) in GENERATORS.items()}


def image_generator(kind: str, name: str) -> Generator | Autoencoder:
    """The generator or autoencoder of a ``--gen_model_type`` and ``--gen_model_name``."""
    return Autoencoder(*AUTOENCODERS[name]) if kind == "autoencoder" else Generator(*GENERATORS[name])
