"""The networks by the names that ``--model_name`` and ``--gen_model_name`` take. Every file here is found."""

import logging

import torch

from models.autoencoder import AUTOENCODERS, Autoencoder
from models.base import NETWORKS, Classifier, network
from models.folding import check_copies, folded
from models.frozen import Frozen, Observed
from models.generator import GENERATORS, Generator
from models.heads import HeadPairs, Heads
from models.rdfcil_resnet import RDFCILResNet
from models.resnet import RESNETS, ResNet
from utils.discovery import import_files
from utils.errors import UserError, first_line

__all__ = [
    "AUTOENCODERS", "FAMILIES", "GENERATORS", "NETWORKS", "RESNETS", "Autoencoder", "Classifier", "Frozen",
    "Generator", "HeadPairs", "Heads", "Observed", "RDFCILResNet", "ResNet", "check_copies", "classifier",
    "folded", "image_generator", "load_backbone", "network"]

for _line in import_files(__name__, __path__).values():
    logging.getLogger(__name__).warning("left out: %s", _line)

FAMILIES = ("resnet", "rdfcil_resnet")  # by --model_type: the published networks of ABD's code and R-DFCIL's


def classifier(family: str, name: str, classes: int, side: int = 32) -> Classifier:
    """The classifier of a ``--model_type`` and ``--model_name``, with ``classes`` outputs, for images of
    ``side`` pixels."""
    return (NETWORKS.get((family, name)) or NETWORKS["", name])(classes, side)


def image_generator(kind: str, name: str, side: int) -> Generator | Autoencoder:
    """The generator or autoencoder of a ``--gen_model_type`` and ``--gen_model_name``, or one as wide for
    images of another size. Raises UserError if there is none of ``side`` pixels."""
    if kind == "autoencoder":
        if name not in AUTOENCODERS or side % 8 or side > 64:
            raise UserError(f"--gen_model_name {name}: there is no such autoencoder for images of {side} x "
                            f"{side} pixels; up to 64 x 64 there are {', '.join(AUTOENCODERS)}")
        return Autoencoder(side, *AUTOENCODERS[name][1:])
    start, channels = GENERATORS[name]
    if start << len(channels) - 1 != side:
        blocks = next(number for number in range(1, side) if side >> number <= 8)
        start, channels = side >> blocks, (*channels[:1] * blocks, channels[-1])
        if start << blocks != side:
            raise UserError(f"--gen_model_name {name}: generators make images with a side of 4, 5, 6, 7 or 8 "
                            f"times a power of two; {side} is not one")
    return Generator(start, channels)


def load_backbone(model: Classifier, path: str) -> str:
    """Load a backbone's weights from a state dict of torchvision or timm, and return a line about what does
    not fit. Raises UserError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        given = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    except Exception as error:
        raise UserError(f"--weights: {path} is not a state dict ({first_line(error)})") from error
    wanted = {name: tensor for name, tensor in model.state_dict().items()
              if not name.startswith("last.") and not name.endswith("num_batches_tracked")}
    missing = [name for name in wanted if name not in given or given[name].shape != wanted[name].shape]
    if len(missing) == len(wanted):
        raise UserError(f"--weights: nothing in {path} fits {type(model).__name__}; choose another network")
    model.load_state_dict({name: given[name] for name in wanted if name not in missing}, strict=False)
    return f"weights from {path}" + (f", but for {', '.join(missing)}" if missing else "")
