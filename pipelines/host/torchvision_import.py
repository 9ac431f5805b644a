"""The one place that imports torchvision, so that it also works beside a CPU-only torch.

PyPI has no CPU build of torchvision for Linux. Its wheel installs beside a CPU-only torch, but its extension is linked
against the CUDA libraries and does not load, and `import torchvision` stops at "operator torchvision::nms does not
exist" (pytorch/vision#9085). Declaring the schemas of the two operators that the import asks for is enough for data
sets, transforms and models; calling `torchvision.ops.nms` still raises torchvision's own error.
"""

from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def import_torchvision() -> ModuleType:
    """The torchvision module. ImportError where it is not installed; RuntimeError (torchvision's own) where it does not
    fit a torch with CUDA, because there the right pair can be installed."""
    make_importable()
    import torchvision

    return torchvision


def make_importable() -> None:
    """Let `import torchvision` succeed from now on, where it is installed, also in code that is not ours."""
    if torch.version.cuda is None and not _operators_load():
        _declare_schemas()


def _operators_load() -> bool:
    """Whether torchvision's extension can be loaded by this torch. Importing torchvision to see would be too late."""
    spec = find_spec("torchvision")
    for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
        for path in folder.glob("_C*"):
            if path.name.endswith(tuple(EXTENSION_SUFFIXES)):
                try:
                    torch.ops.load_library(path)
                except OSError:
                    continue
    return hasattr(torch.ops.torchvision, "nms")


@cache  # a Library takes its schemas with it when it is garbage-collected: the cache keeps it
def _declare_schemas() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    return library
