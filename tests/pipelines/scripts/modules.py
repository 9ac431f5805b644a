"""The modules that a test's own files have become."""

import sys
from pathlib import Path


def forget_modules_of(folder: Path) -> None:
    """Take the modules whose file is below a folder out of `sys.modules`, so that the next test imports its own."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
