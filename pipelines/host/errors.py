"""Errors and what caused them."""

from collections.abc import Iterator


def with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from: a pipeline raises its own from that of a stage."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
