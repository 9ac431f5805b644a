"""Optional packages: one line that names what to install where one is missing."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


class MissingExtraError(ValueError):
    """An extra of Paceline that is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """The module, which comes with an extra of Paceline. MissingExtraError, a line with the remedy, without it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(error.name or module.partition(".")[0], extra) from None


def check(package: str, extra: str) -> None:
    """MissingExtraError where the package is not installed. Imports nothing."""
    if find_spec(package) is None:
        raise _missing(package, extra)


def _missing(package: str, extra: str) -> MissingExtraError:
    return MissingExtraError(f"{package} is missing: pip install -e '.[{extra}]' -c constraints.txt")
