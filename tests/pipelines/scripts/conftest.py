"""Trainers of functions."""

from textwrap import dedent

import pytest

from pipelines.distributed.process_group import World
from pipelines.recipe.scripts import Function
from pipelines.scripts.function import FunctionTrainer

TRAIN = """
def train(run, lr=0.5):
    for epoch in run.epochs(2):
        with run.lap("train", epoch):
            pass
        run.evaluated(epoch, accuracy=0.4 * epoch, loss=1 / epoch)
    return 0.8
"""


@pytest.fixture
def trainer(tmp_path):
    """The trainer of a function `train` in a file with this text."""

    def make(text=TRAIN, function="train", target=0.8, **settings):
        path = tmp_path / "mine.py"
        path.write_text(dedent(text))
        config = {"entry": f"{path}:{function}", "target": target, "arguments": settings.pop("arguments", {})}
        return FunctionTrainer(Function(**config), World(), **settings)

    return make
