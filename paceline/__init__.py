"""Paceline's public API. It imports no torch.

from paceline import trial              # types for a training of your own: def train(run: trial.Run) -> float
paceline.load("runs")                   # trials as a pandas data frame
paceline.compare("runs/a", "runs/b")    # a verdict, shown as a table in a notebook
with paceline.record("idea", target=0.94) as run: ...    # one trial from the cells of a notebook
"""

from paceline import own_tree

own_tree.import_packages()  # before anything else of Paceline is imported

from bench.training.recording import record
from paceline import trial
from results.notebook import Comparisons, compare, load

__all__ = ["Comparisons", "compare", "load", "record", "trial"]
