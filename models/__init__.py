"""The networks by the names that ``--model_name`` and ``--gen_model_name`` take."""

from .generator import GENERATORS, Generator
from .resnet import RESNETS, ResNet

__all__ = ["GENERATORS", "Generator", "RESNETS", "ResNet"]
