"""The knobs of the techniques. The technique `ema` lives in `pipelines/techniques/ema.py`, and so on.

A recipe switches one on by naming it (`techniques: {ema: {}}`) and a recipe built on it switches it off with `null`.
"""

from typing import Annotated

from pydantic import Field

from pipelines.recipe.knobs import Knobs


class EMA(Knobs):
    """Evaluate an exponential moving average of the parameters and the norms' statistics (Polyak averaging)."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """share of the old average that stays at each step"""
    every: Annotated[int, Field(ge=1)] = 5
    """steps between two updates, which then use momentum to the power of this"""


class Techniques(Knobs):
    """Behaviours that hook into the loop; at each event they act in the order in which they stand here."""

    ema: EMA | None = None
    """evaluate a moving average of the weights"""
