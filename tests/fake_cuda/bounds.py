"""Kernels that a training step may launch at most: eager, with `kernels: auto`."""

import statistics
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "bench" / "micro" / "kernel_launches.json"
"""what the recipes launch now, written by `launch_table.py`"""

EXTRA = 10
"""more than in most steps of the recipe: where an average is updated, or filters are renormalised"""
EXTRA_OF = {"cifar10/airbench96-faster": 45}
"""by recipe, where a step has more to do: its proxy learns in one of every few"""
LAUNCHES = {
    "cifar10/airbench94": 65,
    "cifar10/airbench94-muon": 130,
    "cifar10/davidnet-10": 90,
    "cifar10/e1": 130,
    "cifar10/hiverge": 130,
    "cifar10/ladder/00-resnet18": 170,
    "mnist/base": 30,
}
"""by recipe, in most steps"""


def summary(launches: list[int]) -> dict[str, int]:
    """Of the steps of a trial: in most of them, and at most, without the first, which makes the optimizer's state."""
    later = launches[1:] or launches
    return {"typical": statistics.median_low(later), "most": max(later)}
