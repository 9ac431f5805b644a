"""What is recorded of a run before its first trial, and which run is continued."""

import dataclasses

from bench.command_line import jobs
from bench.training import records
from pipelines import recipe
from pipelines.clock import Lap
from pipelines.distributed.process_group import World
from pipelines.trial import GpuActivity, Spread, Trial
from results import store
from results.writer import Writer
from tests.results import builders


def test_what_gpus_did_is_in_the_record():
    activity = GpuActivity(2, 0.01, sm_clock_mhz=Spread(900, 1755, 1980), throttle_reasons={"hw_slowdown": 0.5})
    laps = (Lap("train", 1.0, 1),)
    trial = Trial(0, "missed", 0.5, 0.5, 0.9, (), laps, 1, 1, peak_host_bytes=1, peak_device_bytes=2, gpus=(activity,))
    (gpu,) = records.to_record(trial, 0).gpus
    assert gpu.model_dump(exclude_unset=True) == dataclasses.asdict(activity)


def test_the_record_is_of_the_machines_of_all_processes():
    trained = {"recipe": {"epochs": 1}, "recipe_hash": "0123456789ab", "data": None}
    job = jobs.Job("digits/quick", recipe.load("digits/quick"), (0,))
    captured = [{"machine_class": name, "device": "cpu"} for name in ("a CPU", "a faster CPU")]
    made = records.new_record(job, World(size=2), captured, command=["bench/run.py"], **trained)
    assert made.environment.machine_class == "a CPU and a faster CPU"
    assert [rank.get("machine_class") for rank in made.environment.ranks] == [None, "a faster CPU"]


def test_a_damaged_run_does_not_keep_a_restart_from_its_own(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "1")
    record = builders.record(environment={"launcher": "17 since 1.00"})
    kept = store.create(tmp_path, record)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")
    now = record.model_copy(update={"writer": Writer(host="another", pid=1, started=1.0)})
    assert records.last_attempt(tmp_path, now) == kept.path
    assert "the run is left out" in capsys.readouterr().err
