"""Makes sure that Paceline's packages are its own, whatever lies in the current folder or beside a script."""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bench", "configs", "kernels", "pipelines", "results")


def import_packages() -> None:
    """Import the packages from the tree that this file is in. Later imports of their modules find them.

    ImportError where another module has been imported under one of their names.
    """
    sys.path.insert(0, str(ROOT))
    try:
        for name in PACKAGES:
            place = list(importlib.import_module(name).__spec__.submodule_search_locations or [])
            if str(ROOT / name) not in place:
                where = getattr(sys.modules[name], "__file__", place)
                raise ImportError(f"{where} was imported as {name!r}, a package of Paceline: import paceline first")
    finally:
        sys.path.remove(str(ROOT))
