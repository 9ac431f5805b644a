"""Imports of the user's own files. Two files of one command may have different modules of the same name beside them."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

OURS = ("bench", "configs", "kernels", "paceline", "pipelines", "results")
"""packages of Paceline, which a user's file cannot have modules beside it called like"""


@dataclass
class _Imported:
    """What the files of one folder have imported so far."""

    path: list[str] = field(default_factory=list)
    """`sys.path` as they left it; empty: none was loaded"""
    modules: dict[str, ModuleType] = field(default_factory=dict)
    """from beside them, and from folders that they added to `sys.path`"""


_imported: dict[str, _Imported] = {}
"""by folder"""


@contextlib.contextmanager
def beside(path: Path) -> Iterator[None]:
    """Let imports find what lies beside a file first, and then `sys.path` as it was, until the block ends.

    The modules from there are kept for the next block of the same folder. Files of other folders do not find them: in
    two checkouts of one project, each file imports its own.
    """
    folder = str(path.resolve().parent)
    kept = _imported.setdefault(folder, _Imported())
    path_before, before = list(sys.path), dict(sys.modules)
    sys.path[:] = kept.path or [folder, *sys.path]
    sys.modules.update(kept.modules)
    try:
        yield
    finally:
        added = {path.resolve().parent, *(Path(one).resolve() for one in sys.path if one not in path_before)}
        new = {name: module for name, module in list(sys.modules.items()) if before.get(name) is not module}
        top = {name for name, module in new.items() if name not in OURS and _folder_of(module) in added}
        kept.path = list(sys.path)
        kept.modules = {name: module for name, module in new.items() if name.partition(".")[0] in top}
        sys.path[:] = path_before
        for name in kept.modules:
            del sys.modules[name]
        sys.modules.update({name: before[name] for name in kept.modules if name in before})


def _folder_of(module: ModuleType) -> Path | None:
    """Where a module, or the folder of a package, lies; None for one that has no file."""
    names = getattr(module, "__dict__", {})  # modules that import lazily have every attribute
    place = next(iter(names.get("__path__") or ()), names.get("__file__"))
    return Path(str(place)).resolve().parent if place else None
