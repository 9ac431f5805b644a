"""Values in records, in what JSON has: free-form ones, lines of text, numbers that can be computed with."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from results.format import printable


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


MOST = 2**63 - 1
"""what a database holds as an integer, and a float holds too"""

Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(ge=1, le=MOST)]
Amount = Annotated[float, Field(ge=0, le=1e100)]
"""whose products and ratios are finite"""
Text = Annotated[str, BeforeValidator(writable)]
Line = Annotated[Text, AfterValidator(printable)]
"""what messages quote: characters that are no text, such as the end of a line, are spaces"""
JsonObject = Annotated[dict[str, JsonValue], BeforeValidator(writable)]
