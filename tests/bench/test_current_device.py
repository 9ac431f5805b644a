"""Commands of a single process make their GPU torch's current one, as launched processes do."""

from pathlib import Path

import pytest
import torch

import paceline
from bench import doctor, roofline
from pipelines import recipe
from pipelines.distributed import process_group

NAME = "digits/quick"
GPU = "cuda:1"


class AskedError(Exception):
    """For this device."""


def search():
    search_study = pytest.importorskip("bench.searching.search_study")
    search_study.trial_of(recipe.load(NAME), None, Path(), torch.device(GPU))


def notebook():
    with paceline.record("idea", target=0.5, device=GPU):
        pass


@pytest.mark.parametrize(
    "command",
    [
        lambda: doctor.examine(NAME, recipe.load(NAME), GPU, Path(), Path()),
        lambda: doctor.examine_function("mine", recipe.Function(entry="mine.py:train", target=0.5), GPU, Path()),
        lambda: roofline.examine(NAME, recipe.load(NAME), GPU, as_json=True),
        search,
        notebook,
    ],
    ids=["doctor", "doctor, function", "roofline", "search", "notebook"],
)
def test_a_command_asks_for_its_device_alone(monkeypatch, command):
    def alone(device):
        raise AskedError(device)

    monkeypatch.setattr(process_group, "alone", alone)
    with pytest.raises(AskedError, match=GPU):
        command()
