"""Make torchvision importable beside a CPU-only torch.

The torchvision on PyPI is built against CUDA. Beside a CPU-only torch its compiled operators don't load, and its
import ends with "operator torchvision::nms does not exist", though data sets, transforms and utilities need none
of them. Declaring the two schemas that the import asks for is enough. Where the operators load, nothing is done.
Import this module before torchvision; dataloaders/__init__.py does. Torchvision itself is imported in the functions that
need it: that takes as long as importing torch, and a command that reads no images has no use for it.
"""

import importlib.util
from pathlib import Path

import torch

MISSING = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def operators_load() -> bool:
    """Whether torchvision's compiled operators can be loaded into this torch."""
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return False
    try:
        for library in Path(package.origin).parent.glob("_C.*"):
            torch.ops.load_library(str(library))
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


if not operators_load():
    library = torch.library.Library("torchvision", "DEF")
    for schema in MISSING:
        library.define(schema)
