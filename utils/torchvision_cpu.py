"""Make torchvision importable beside a CPU-only torch. Import this before torchvision.

The torchvision on PyPI is built against CUDA. With a CPU-only torch its compiled operators do not load, and
its import fails with "operator torchvision::nms does not exist", though we use none of them. Declaring the
two that the import looks up is enough.
"""

import contextlib
import importlib.util
from pathlib import Path

import torch

package = importlib.util.find_spec("torchvision")
with contextlib.suppress(OSError):
    for file in Path(package.origin).parent.glob("_C.*") if package and package.origin else ():
        torch.ops.load_library(str(file))
if not hasattr(torch.ops.torchvision, "nms"):
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
