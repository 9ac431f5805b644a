"""Optional packages: one line that names what to install where one is missing."""

from importlib import import_module
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """The module, which comes with an extra of Paceline. ValueError, a line with the remedy, without it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is missing: pip install -e '.[{extra}]' -c constraints.txt") from None
