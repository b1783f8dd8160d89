"""Make torchvision importable beside a CPU-only torch.

The torchvision on PyPI is built against CUDA. With a CPU-only torch its compiled operators do not load, and
its import fails with "operator torchvision::nms does not exist", though we use none of them. Declaring the
two schemas that the import looks up is enough; if the operators load, nothing is declared. Import this module
before torchvision (dataloaders/__init__.py does). Functions that need torchvision import it themselves,
because that takes as long as importing torch.
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
