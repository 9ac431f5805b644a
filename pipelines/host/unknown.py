"""What to write for something that could not be learnt: why, and never a guess."""

from collections.abc import Callable

import psutil
import pynvml

ANSWERS = (OSError, ValueError, RuntimeError, psutil.Error, pynvml.NVMLError)
"""What a system is known to answer with. A misspelt name of ours (AttributeError) is not among them: it must fail."""


def unknown(reason: str) -> dict[str, str]:
    """The value of a field that could not be captured."""
    return {"unknown": reason}


def attempt(read: Callable[[], object]) -> object:
    """What `read` returns, or why it could not."""
    try:
        return read()
    except ANSWERS as error:
        return unknown(f"{type(error).__name__}: {error}")
