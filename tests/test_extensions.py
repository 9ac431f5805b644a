"""Each extension of CONTRIBUTING.md, in a copy of the tree: it takes as many files as the table says, and trains."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

TECHNIQUE = '''
from pipelines.recipe.config import Positive
from pipelines.recipe.techniques.technique import Technique


class Dimming(Technique):
    """Train on darker images."""

    weight_access = "none"

    by: Positive = 2.0
    """what the pixels are divided by"""
'''
TECHNIQUE_OF_A_RECIPE = '''
from pipelines.recipe.techniques.dimming import Dimming


class Techniques(Config):
    dimming: Dimming | None = None
    """train on darker images"""
'''
TECHNIQUE_MODULE = """
class Dimming:
    def __init__(self, config):
        self._by = config.by

    def batch_ready(self, state):
        state.images = state.images / self._by

    def trial_end(self, state):
        state.notes["dimming"] = self._by
"""
NETWORK = '''
class Linear(Regularized):
    """One linear layer."""

    name: Literal["linear"]
    """the network"""


Network = Annotated[Linear | '''
NETWORK_MODULE = """
from math import prod

from torch import nn

from pipelines.models.classifier import Classifier
from pipelines.models.dropout import in_a_row, make_dropout, make_head


class Linear(Classifier):
    def __init__(self, config, image_shape, classes):
        super().__init__()
        self.layers = in_a_row(make_dropout(config.dropout, "input"), nn.Flatten())
        self.head = make_head(prod(image_shape), classes, config, bias=True)
"""
DATA_SET_MODULE = """
from pipelines.data.sources import digits
from pipelines.data.sources.digits import CLASS_NAMES, FINGERPRINT, MEAN, SHAPES, STD, archives, find


def read(folder):
    return digits.read(folder)
"""
LOADER = '''
class Reversed(LoaderConfig):
    """The resident loader with its batches in reverse order."""

    name: Literal["reversed"]
    """the loader"""


Loader = Annotated[Reversed | '''
LOADER_MODULE = """
from pipelines.data.resident import Epoch, ResidentLoader


class ReversedLoader(ResidentLoader):
    def epoch(self, epoch):
        batches = self._augmented(epoch)
        indices = [batch.flip(0) for batch in reversed(batches.indices)]
        return Epoch(batches.images.flip(0), batches.labels.flip(0), indices)
"""
STRATEGY_MODULE = """
from pipelines.strategies import single_process
from pipelines.strategies.strategy import InPlace


def make_strategy(recipe, network, world):
    alone = single_process.make_strategy(recipe, network, world)
    return InPlace("gossip", network, alone.forward, alone.backward)
"""
SCHEDULE = '''
class SquareRoot(WarmedUp):
    """The square root of the share of the training that is left."""

    name: Literal["square_root"]
    """the schedule"""


Schedule = Annotated[
    SquareRoot | '''
OPTIMIZER = '''
class SignSGD(BiasFactors):
    """SGD by the gradient's signs."""

    name: Literal["sign_sgd"]
    """the optimizer"""

    scale_free = True


Optimizer = Annotated[
    SignSGD | '''
OPTIMIZER_FUNCTION = """
class Signs(torch.optim.SGD):
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad.sign_()
        super().step()


def sign_sgd(trained, config, scale):
    return [Signs(parameter_groups(trained, bias_rates(config)))]


OPTIMIZERS: dict[str, Callable[[list[Trained], Any, int], Optimizers]] = {
    "sign_sgd": sign_sgd,"""
RECIPE = """
title: "One of each extension, trained for an epoch"
data: {name: handwriting}
target: 0.1
epochs: 1
batch_size: 64
loader: {name: reversed}
model: {name: linear, dropout: {input: 0.1}}
optimizer: {name: sign_sgd, lr: 0.01}
schedule: {name: square_root}
parallel: {strategy: gossip}
techniques: {dimming: {}}
"""

EXTENSIONS = {
    "a recipe": {"configs/handwriting/all.yaml": RECIPE},
    "a technique": {
        "pipelines/recipe/techniques/dimming.py": TECHNIQUE,
        "pipelines/recipe/techniques/__init__.py": ("class Techniques(Config):\n", TECHNIQUE_OF_A_RECIPE),
        "pipelines/techniques/dimming.py": TECHNIQUE_MODULE,
    },
    "a network": {
        "pipelines/recipe/networks.py": ("Network = Annotated[", NETWORK),
        "pipelines/models/linear.py": NETWORK_MODULE,
    },
    "a data set": {
        "pipelines/recipe/training.py": (
            '        "cifar10",\n',
            '        "handwriting",\n        "cifar10",\n',
        ),
        "pipelines/data/sources/handwriting.py": DATA_SET_MODULE,
    },
    "a loader": {
        "pipelines/recipe/loaders.py": ("Loader = Annotated[", LOADER),
        "pipelines/data/reversed_loader.py": LOADER_MODULE,
        "pipelines/data/loaders.py": (
            "LOADERS = {",
            'LOADERS = {\n    "reversed": ("pipelines.data.reversed_loader", "ReversedLoader"),',
        ),
    },
    "a strategy": {
        "pipelines/recipe/parallel.py": ('strategy: Literal["ddp", ', 'strategy: Literal["gossip", "ddp", '),
        "pipelines/strategies/gossip.py": STRATEGY_MODULE,
    },
    "a schedule": {
        "pipelines/recipe/schedules.py": ("Schedule = Annotated[\n    ", SCHEDULE),
        "pipelines/optim/schedules.py": (
            "SCHEDULES: dict[str, Callable[..., ScheduleFunction]] = {",
            "SCHEDULES: dict[str, Callable[..., ScheduleFunction]] = {\n"
            '    "square_root": lambda config, epochs: lambda epoch: (1 - share(epoch, epochs)) ** 0.5,',
        ),
    },
    "an optimizer": {
        "pipelines/recipe/optimizers.py": ("Optimizer = Annotated[\n    ", OPTIMIZER),
        "pipelines/optim/optimizers.py": (
            "OPTIMIZERS: dict[str, Callable[[list[Trained], Any, int], Optimizers]] = {",
            OPTIMIZER_FUNCTION,
        ),
    },
}
"""Of each, the files: a new one's text, or what is replaced in a file and by what."""

PROGRAM = """
from pathlib import Path
from pipelines import recipe
from pipelines.data import sources
from pipelines.distributed.process_group import World
from pipelines.estimate import estimate
from pipelines.train import run_trial, set_up
from pipelines.warmup import warm_up

class OneOfTwo(World):
    def sum(self, values): return values
    def maximum(self, values): return values
    def broadcast(self, tensor): pass
    def barrier(self): pass

chosen = recipe.load("handwriting/all")
dataset = sources.load("handwriting", Path("data"))
assert sources.blank("handwriting").train_images.shape == dataset.train_images.shape
for world in (World(), OneOfTwo(0, 2)):
    setup = set_up(chosen, dataset, world)
    warm_up(setup)
    trial = run_trial(setup, seed=0)
    assert trial.notes == {"dimming": 2.0}, trial.notes
    assert trial.outcome == "reached", trial.accuracy
    print(setup.strategy.name, estimate(chosen, dataset, world.device).parameters)
"""


def files_by_the_table():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return {what: int(count) for what, count in re.findall(r"^\| (an? [\w ]+) \| (\d) \|", text, re.MULTILINE)}


@pytest.mark.parametrize("what", EXTENSIONS)
def test_an_extension_takes_as_many_files_as_the_documentation_says(what):
    assert files_by_the_table()[what] == len(EXTENSIONS[what])


def test_one_of_each_trains(tmp_path):
    for folder in ("kernels", "pipelines", "configs"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, change in [item for files in EXTENSIONS.values() for item in files.items()]:
        path = tmp_path / name
        if isinstance(change, str):
            assert not path.exists(), name
            path.parent.mkdir(exist_ok=True)
            path.write_text(change, encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8")
            assert text.count(change[0]) == 1, (name, change[0])
            path.write_text(text.replace(*change), encoding="utf-8")
    command = [sys.executable, "-W", "error::FutureWarning", "-c", PROGRAM]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["none", "650", "gossip", "650"]
