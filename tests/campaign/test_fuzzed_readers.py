"""Readers of records that were damaged at random: a ValueError of one line, or a result; no other error, no hang."""

import json
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results import samples, store
from results.flat import tables
from results.page.data import page_data
from results.tables.overview import overview
from tests.results.builders import record, trial
from tests.results.json_paths import paths_of, replaced

pytestmark = pytest.mark.campaign
FUZZ = settings(
    max_examples=1500,
    deadline=timedelta(seconds=10),
    suppress_health_check=list(HealthCheck),
    database=None,
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 2**63, 2**127, 1e308, -0.0, 0.5])
    | st.floats()
    | st.text()
    | st.sampled_from(["NaN", "Infinity", "=1+1", "\x1b[31m", "\ud800", "0001-01-01T00:00:00+14:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read_everything(run, trials):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        folder.mkdir()
        (folder / store.RECORD).write_bytes(run)
        (folder / store.TRIALS).write_bytes(trials)
        found = store.attempt(store.read, folder)
        if isinstance(found, ValueError):
            assert "\n" not in str(found), str(found)
            return
        samples.of_runs([folder / store.RECORD])
        overview([found], "strict")
        json.dumps(page_data([found], []), allow_nan=False)
        rows = store.attempt(lambda path: tables([found], "strict"), folder)
        assert not isinstance(rows, ValueError) or "\n" not in str(rows), str(rows)


ENVIRONMENT = {
    "machine_id": "m",
    "threads": {"intra_op": 2, "inter_op": 2},
    "scheduling": {"cpus": 2, "governors": ["performance"], "smt": True, "cpu_quota": 1.5, "processes": 1},
    "energy": {"mean_w": 1.0, "joules_per_trial": 2.0},
}
RUN = record(environment=ENVIRONMENT, writer={"host": "h", "pid": 1, "started": 0.0}).model_dump_json().encode()
TRIALS = b"".join(trial(seed, foreign_load=0.5).model_dump_json().encode() + b"\n" for seed in range(2))
OF_RUN, OF_TRIAL = (list(paths_of(json.loads(text))) for text in (RUN, TRIALS.split(b"\n")[0]))


@FUZZ
@given(path=st.sampled_from(OF_RUN), new=values)
def test_a_value_of_the_run_is_replaced(path, new):
    read_everything(json.dumps(replaced(json.loads(RUN), path, new)).encode(), TRIALS)


@FUZZ
@given(path=st.sampled_from(OF_TRIAL), new=values)
def test_a_value_of_a_trial_is_replaced(path, new):
    first, rest = TRIALS.split(b"\n", 1)
    read_everything(RUN, json.dumps(replaced(json.loads(first), path, new)).encode() + b"\n" + rest)


@FUZZ
@given(
    which=st.sampled_from([0, 1]),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 40), st.binary(max_size=20)), max_size=4),
)
def test_bytes_are_replaced(which, edits):
    files = [RUN, TRIALS]
    for at, cut, new in edits:
        at %= len(files[which]) or 1
        files[which] = files[which][:at] + new + files[which][at + cut :]
    read_everything(*files)
