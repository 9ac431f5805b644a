"""Optional packages: one line that names what to install where one is missing."""

from importlib import import_module
from types import ModuleType


class MissingExtraError(ValueError):
    """An extra of Paceline that is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """The module, which comes with an extra of Paceline. MissingExtraError, a line with the remedy, without it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{error.name or package} is missing: pip install -e '.[{extra}]' -c constraints.txt"
        ) from None
