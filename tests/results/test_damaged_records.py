"""Committed records of which one value is another: refused in one line with the file, or used by all readers."""

import json
import random
from pathlib import Path

import pytest

from results import store
from results.breakdown import breakdown
from results.compare import compare
from results.flat import tables
from results.gate import judge
from results.page.data import page_data
from results.samples import of_run
from results.tables.comparison import of_pairs
from results.tables.efficiency import efficiency_table
from results.tables.ladder import ladder_table
from results.tables.loaders import loaders_table
from results.tables.overview import overview
from results.tables.runs import trials_table
from results.tables.scaling import scaling_tables
from results.tables.strategies import strategies_table
from tests.results.json_paths import paths_of, replaced

MEASURED = Path(__file__).resolve().parents[2] / "results" / "measured"
RECORDS = {
    "a recipe on a GPU": "gpu/*_cifar10-e1_d148acfe",
    "a function": "first-hour/*_after.py_train_315c027a",
    "two processes": "strategies/memory/*_cifar10-strategies-wide-resnet_386f3d68",
    "a loader with its costs": "*_cifar10-loaders-torchvision_498c1b60",
}
SAMPLED = 20
"""of each record, in the fast test"""
DEEP: object = {}
for _ in range(60):
    DEEP = {"deeper": [DEEP]}
VALUES = [
    *(None, True, "text", "", "two\nlines \x1b[31m", -1, -0.5, 0, 2**70, 10**400, 1e308, "NaN"),
    *([], ["text"], [1, [2]], {}, {"name": 3}, {"epochs": "many"}, DEEP),
]


def places(record):
    """Of all values; of a list, of its first item."""
    return [path for path in paths_of(record) if path and not any(type(key) is int and key > 0 for key in path)]


class Record:
    """A committed record, as JSON."""

    def __init__(self, name):
        (self.path,) = MEASURED.glob(RECORDS[name])
        self.run = json.loads((self.path / store.RECORD).read_bytes())
        self.trials = [json.loads(line) for line in (self.path / store.TRIALS).read_bytes().splitlines()[:3]]
        self.run |= {"seeds": [trial["seed"] for trial in self.trials], "id": "damaged1"}
        self.of_run, self.of_trial = places(self.run), places(self.trials[0])

    def damages(self):
        """All: the file, the place of a value, and what is there instead."""
        files = ((store.RECORD, self.of_run), (store.TRIALS, self.of_trial))
        return [(file, path, value) for file, paths in files for path in paths for value in VALUES]

    def write(self, folder, damage):
        file, path, value = damage
        run = replaced(self.run, path, value) if file == store.RECORD else self.run
        first = replaced(self.trials[0], path, value) if file == store.TRIALS else self.trials[0]
        folder.mkdir(exist_ok=True)
        (folder / store.RECORD).write_text(json.dumps(run))
        (folder / store.TRIALS).write_text("".join(json.dumps(one) + "\n" for one in (first, *self.trials[1:])))


def read_by_all(damaged, whole):
    """What the commands do with a run, beside a run that is whole."""
    for one, other in ((whole, damaged), (damaged, whole)):
        sides = [of_run(one, "strict")], [of_run(other, "strict")]
        for row in compare(*sides):
            breakdown(row)
        yield lambda one=one, other=other: of_pairs([(one, other)], "strict")
        yield lambda sides=sides: judge(*sides, {"time": 0.02})
    for make in (overview, ladder_table, loaders_table, strategies_table, efficiency_table, scaling_tables, tables):
        yield lambda make=make: make([whole, damaged], "strict")
    yield lambda: trials_table(damaged, "strict")
    yield lambda: json.dumps(page_data([whole, damaged], []), allow_nan=False)


def check(record, folder, damage):
    """ValueError of one line that names the file where the record is read; ValueError of one line where it is used."""
    record.write(folder, damage)
    refused = []
    try:
        damaged = store.read(folder)
    except ValueError as error:
        refused.append(str(error))
        assert refused[-1].startswith(f"{folder}/"), damage
    else:
        for read in read_by_all(damaged, store.read(record.path)):
            if isinstance(error := store.attempt(lambda _, read=read: read(), folder), ValueError):
                refused.append(str(error))
    assert "\n" not in "".join(refused), damage


@pytest.mark.parametrize("name", RECORDS)
def test_some_damages(tmp_path, name):
    record = Record(name)
    for damage in random.Random(7).sample(record.damages(), SAMPLED):
        check(record, tmp_path / "run", damage)


@pytest.mark.campaign
@pytest.mark.parametrize("name", RECORDS)
def test_every_damage(tmp_path, name):
    record = Record(name)
    for damage in record.damages():
        check(record, tmp_path / "run", damage)
