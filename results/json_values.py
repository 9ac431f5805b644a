"""Free-form values in records, in what JSON has."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, JsonValue


def writable(value: Any) -> Any:
    """`value` in what JSON has: tuples as lists, non-finite numbers as texts, stray surrogates escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {writable(key): writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [writable(item) for item in value]
    return value


Text = Annotated[str, BeforeValidator(writable)]
JsonObject = Annotated[dict[str, JsonValue], BeforeValidator(writable)]
