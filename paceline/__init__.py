"""The public API of Paceline."""

from pipelines.scripts import run as trial

__all__ = ["trial"]
