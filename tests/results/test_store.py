"""Runs on disk: what was written comes back, damage costs one line, and nothing leaves the root."""

import contextlib
import errno
import json
import math
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results import store
from results.record import EpochResult
from results.store import create, read, resume
from tests.results.builders import missed, record, trial

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(tmp_path):
    """A run with trials of seeds 0 and 1; seed 2 is missing."""
    run = create(tmp_path / "runs", record())
    run.append(trial(0))
    run.append(missed(1))
    return run


def test_a_run_comes_back_as_it_was_written(written):
    assert written.path.name == "20261121T105731Z_cifar10-airnet_abcd1234"
    run = read(written.path)
    assert run.record == record()
    assert run.trials == (trial(0), missed(1))
    assert run.missing_seeds == written.missing_seeds == [2]
    assert run.warnings == ()
    assert read(written.path / "run.json") == run


def test_finish_says_how_it_ended_and_adds_to_the_environment(written):
    written.finish("interrupted", "Ctrl-C", {"after": {"load_average": [1.0]}})
    ended = read(written.path).record
    assert (ended.status, ended.reason) == ("interrupted", "Ctrl-C")
    assert ended.environment.after.load_average == [1.0]
    assert ended.environment.machine_class == record().environment.machine_class


def test_a_run_with_missing_seeds_is_not_finished(written):
    with pytest.raises(AssertionError):
        written.finish("finished")
    written.append(trial(2))
    written.finish("finished")
    assert read(written.path).record.status == "finished"


def test_a_diverged_trial_comes_back(written):
    written.append(trial(2, outcome="diverged", reason="loss", epochs=[EpochResult(epoch=1, train_loss=math.nan)]))
    assert math.isnan(read(written.path).trials[2].epochs[0].train_loss)


def test_a_trial_that_is_not_of_the_run_is_not_written(written):
    before = (written.path / "trials.jsonl").read_bytes()
    with pytest.raises(ValueError, match="seed=7 is not among the seeds"):
        written.append(trial(7))
    with pytest.raises(ValueError, match="seed=0 has its trial already"):
        written.append(trial(0))
    assert (written.path / "trials.jsonl").read_bytes() == before


def test_a_file_torn_at_any_byte_keeps_the_lines_before_and_takes_the_next(tmp_path):
    written = create(tmp_path, record())
    short = [trial(seed, epochs=(), laps=()) for seed in range(3)]
    written.append(short[0])
    written.append(short[1])
    written.finish("interrupted")
    path = written.path / "trials.jsonl"
    whole = path.read_bytes()
    ends = [match.start() for match in re.finditer(b"\n", whole)]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        kept = sum(end <= size for end in ends)  # a line that lacks only its end is whole
        run = read(written.path)
        assert run.trials == tuple(short[:kept])
        torn = size not in (0, *ends, *(end + 1 for end in ends))
        assert len(run.warnings) == torn
        if torn:
            assert run.warnings[0].startswith(f"{path}:{kept + 1}: skipped a damaged line")
        if size % 7 == 0 or not torn:
            resume(written.path, record()).append(short[2])
            again = read(written.path)
            assert again.trials == (*run.trials, short[2])
            assert len(again.warnings) == torn


def as_json(**changes) -> bytes:
    return json.dumps(trial(2).model_dump(mode="json") | changes).encode()


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage",
        b"\x00" * 50,
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"{}",
        as_json(colour="blue"),
        as_json(accuracy="high"),
    ],
    ids=["text", "nul", "utf8", "deep", "null", "list", "empty", "extra", "type"],
)
def test_garbage_is_skipped_with_a_warning(written, garbage):
    path = written.path / "trials.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + garbage + b"\n\n" + second)
    run = read(written.path)
    assert run.trials == (trial(0), missed(1))
    assert len(run.warnings) == 1
    assert f"{path}:2: skipped a damaged line: " in run.warnings[0]
    assert "\n" not in run.warnings[0]


def lap(name, seconds):
    return {"name": name, "seconds": seconds}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"accuracy": 95.0}, "accuracy=95.0: Input should be less than or equal to 1"),
        ({"accuracy": -0.1}, "accuracy=-0.1: Input should be greater than or equal to 0"),
        ({"laps": [lap("train", -1.0)]}, "laps.0.seconds=-1.0: Input should be greater than or equal to 0"),
        ({"laps": [lap("total", 1.0), lap("train", 2.0)]}, "laps: train took 2.0 s, total 1.0 s"),
        ({"laps": [lap("total", 1.0), lap("train", 0.6), lap("build", 0.6)]}, "its laps add up to 1.2 s, more than"),
        ({"outcome": "missed"}, "outcome=missed, but accuracy=0.95 is not under the target 0.94"),
        ({"seed": 99}, "seed=99 is not among the seeds of run abcd1234"),
        ({"target": None, "outcome": "finished"}, "target is missing, and the recipe does not say that there is none"),
    ],
)
def test_a_whole_line_that_can_not_be_true_is_refused_by_name(written, changes, told):
    path = written.path / "trials.jsonl"
    path.write_bytes(path.read_bytes() + as_json(**changes) + b"\n")
    with pytest.raises(ValueError, match=re.escape(f"{path}:3: is impossible: ") + ".*" + re.escape(told)):
        read(written.path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(max_size=50).filter(lambda some: b"\n" not in some))
def test_no_garbage_stops_the_reader(written, garbage):
    path = written.path / "trials.jsonl"
    whole = b"".join(path.read_bytes().splitlines(keepends=True)[:2])
    path.write_bytes(whole + garbage)
    assert read(written.path).trials == (trial(0), missed(1))
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("changes", "how"), [({}, "equal to that of line 1"), ({"steps": 31}, "which differs from that of line 1")]
)
def test_of_two_trials_of_one_seed_the_first_counts(written, changes, how):
    path = written.path / "trials.jsonl"
    path.write_bytes(path.read_bytes() + trial(0, **changes).model_dump_json().encode() + b"\n")
    run = read(written.path)
    assert run.trials == (trial(0), missed(1))
    assert run.warnings == (f"{path}:3: left out a second trial of seed=0, {how}: two processes wrote this run",)


def test_missing_trials_are_a_warning(written):
    (written.path / "trials.jsonl").unlink()
    run = read(written.path)
    assert run.trials == ()
    assert run.warnings == (f"{written.path / 'trials.jsonl'} is missing",)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}', '{"schema_version": 1, "id": 3}'])
def test_a_damaged_record_is_refused_by_its_file(written, text):
    (written.path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(written.path / "run.json"))):
        read(written.path)


def test_where_there_is_no_run(tmp_path):
    with pytest.raises(ValueError, match=r"no run there; a run is a directory with a file run\.json"):
        read(tmp_path)


def rewrite(path, **changes):
    loaded = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(loaded | changes))


def test_a_newer_schema_is_refused(written):
    rewrite(written.path, schema_version=5)
    with pytest.raises(ValueError, match=r"schema_version=5 is newer than 4, .*: read it with a newer Paceline"):
        read(written.path)


@pytest.mark.parametrize("version", [0, -1])
def test_a_schema_that_never_was_is_refused(written, version):
    rewrite(written.path, schema_version=version)
    with pytest.raises(ValueError, match=f"schema_version={version} was never written"):
        read(written.path)


@pytest.mark.parametrize("version", [None, "1", True, 1.0])
def test_a_schema_version_that_is_none_is_refused(written, version):
    rewrite(written.path, schema_version=version)
    with pytest.raises(ValueError, match="is not a version"):
        read(written.path)


def test_older_schemas_are_upgraded_step_by_step(written, monkeypatch):
    """As if `reason` had been called `why` in version 1."""

    def rename(run):
        return {("reason" if key == "why" else key): value for key, value in run.items()}

    monkeypatch.setattr(store, "UPGRADES", {0: dict, 1: rename, 2: dict, 3: dict})
    written.finish("interrupted")
    old = json.loads((written.path / "run.json").read_text()) | {"schema_version": 0, "why": "power"}
    del old["reason"]
    (written.path / "run.json").write_text(json.dumps(old))
    run = read(written.path)
    assert run.record.reason == "power"
    assert run.record.schema_version == 4
    with pytest.raises(ValueError, match="can be read but not resumed"):
        resume(written.path, record())


def test_resume_goes_on_with_what_is_missing(written):
    written.finish("interrupted", "Ctrl-C")
    run = resume(written.path, record(id="ffff0000", seeds=[5]))
    assert run.missing_seeds == [2]
    assert read(written.path).record == record()
    run.append(trial(2))
    assert read(written.path).missing_seeds == []


def test_resume_adds_the_seeds_that_follow_those_of_the_run(written):
    written.append(trial(2))
    written.finish("finished")
    seeds = [*record().seeds, 8, 9]
    run = resume(written.path, record(id="ffff0000", seeds=seeds))
    assert run.missing_seeds == [8, 9]
    assert read(written.path).record == record(seeds=seeds)


def test_a_run_that_is_resumed_alone_is_no_longer_interleaved(tmp_path):
    alone = create(tmp_path, record(id="aaaa", interleaved="pair"))
    alone.finish("interrupted")
    together = resume(alone.path, record(interleaved="pair"))
    assert together.record.interleaved == "pair"
    together.finish("interrupted")
    resume(alone.path, record())
    assert read(alone.path).record.interleaved is None


@pytest.mark.parametrize("part", ["threads", "scheduling"])
def test_a_run_goes_on_with_the_threads_and_the_share_of_the_host_that_it_began_with(tmp_path, part):
    before = {"threads": {"intra_op": 2, "inter_op": 2}, "scheduling": {"cpus": 2, "cpu_quota": 1.5}}
    after = before | {"threads": {"intra_op": 1, "inter_op": 2}, "scheduling": {"cpus": 2, "cpu_quota": None}}
    run = create(tmp_path, record(environment=before))
    run.finish("interrupted")
    path = run.path
    again = resume(path, record(environment=before))
    assert again.missing_seeds == [0, 1, 2]
    again.finish("interrupted")
    with pytest.raises(ValueError, match=f"cannot be resumed: {part} was"):
        resume(path, record(environment=before | {part: after[part]}))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"recipe_hash": "other"}, "recipe_hash"),
        ({"world_size": 2}, "world_size"),
        ({"smoke_test": True}, "smoke_test"),
        ({"commit": "e" * 40}, "commit"),
        ({"environment": {"machine_id": "m", "machine_class": "NVIDIA H200", "code": "changed"}}, "code"),
        ({"environment": {"machine_id": "n", "machine_class": "NVIDIA H200"}}, "machine_id"),
        ({"environment": {"machine_id": "m", "machine_class": "NVIDIA A100"}}, "machine_class"),
        ({"environment": {"machine_id": "m", "machine_class": "NVIDIA H200", "cpu": {"flags": ["avx2"]}}}, "cpu"),
        (
            {"environment": {"machine_id": "m", "machine_class": "NVIDIA H200", "versions": {"torch": "2.14.0"}}},
            "versions",
        ),
    ],
)
def test_one_run_is_of_one_recipe_one_code_and_one_machine(written, changes, key):
    written.finish("interrupted")
    with pytest.raises(ValueError, match=f"cannot be resumed: {key} was .* is .* now; undo that or start anew"):
        resume(written.path, record(**changes))


@pytest.mark.parametrize(("then", "is_refused"), [({"code": "a"}, True), ({"code": "b"}, False)])
def test_the_trials_of_a_run_are_of_one_text_of_changed_code(tmp_path, then, is_refused):
    machine = {"machine_id": "m", "machine_class": "CPU"}
    run = create(tmp_path, record(dirty=True, environment=machine | then))
    run.finish("interrupted")
    refused = pytest.raises(ValueError, match="cannot be resumed: code was 'a' and is 'b' now")
    with refused if is_refused else contextlib.nullcontext():
        resume(run.path, record(dirty=True, environment=machine | {"code": "b"}))


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (
            {"cpu": {"model": "AMD EPYC", "flags": ["avx2", "fma"]}},
            {"cpu": {"model": "AMD EPYC", "flags": ["avx2", "avx512f", "fma"]}},
            "machine was 'AMD EPYC, AVX2' and is 'AMD EPYC, AVX-512' now",
        ),
        (
            {"cpu": {"model": "AMD EPYC", "flags": ["avx2", "fma"]}},
            {"cpu": {"model": "AMD EPYC", "flags": ["avx2", "vaes"]}},
            "cpu was {'flags': ['fma']} and is {'flags': ['vaes']} now",
        ),
        (
            {"versions": {"torch": "2.13.0", "numpy": "2.0.0"}},
            {"versions": {"torch": "2.14.0", "numpy": "2.0.0"}},
            "versions was {'torch': '2.13.0'} and is {'torch': '2.14.0'} now",
        ),
    ],
)
def test_only_what_differs_is_named(tmp_path, then, now, said):
    machine = {"machine_id": "m", "machine_class": "AMD EPYC", "device": "cpu"}
    run = create(tmp_path, record(environment=machine | then))
    run.finish("interrupted")
    with pytest.raises(ValueError, match=re.escape(said)):
        resume(run.path, record(environment=machine | now))


def data(digit="a"):
    return dict.fromkeys(("train_images", "train_labels", "test_images"), "0" * 64) | {
        "test_labels": digit * 64,
        "is_published": True,
    }


def test_a_run_is_not_resumed_on_other_data(tmp_path):
    run = create(tmp_path, record(data=data()))
    run.finish("interrupted")
    with pytest.raises(ValueError, match="cannot be resumed: data was .* is .* now"):
        resume(run.path, record(data=data("b")))
    resume(run.path, record(data=data())).finish("interrupted")
    resume(run.path, record(data=None))  # of before hashes were kept


def test_a_run_is_written_by_one_process_at_a_time(written):
    here = f"process {os.getpid()} on {re.escape(socket.gethostname())}"
    with pytest.raises(ValueError, match=f"{here} .* writes this run: wait until it has ended, or stop it"):
        resume(written.path, record())
    written.finish("interrupted")
    first = resume(written.path, record())
    with pytest.raises(ValueError, match=here):
        resume(written.path, record())
    first.append(trial(2))
    assert read(written.path).warnings == ()


def test_a_refused_resume_leaves_the_run_free(written):
    written.finish("interrupted")
    with pytest.raises(ValueError, match="cannot be resumed"):
        resume(written.path, record(recipe_hash="other"))
    assert resume(written.path, record()).missing_seeds == [2]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_that_refuses_locks_is_named_with_a_remedy(tmp_path, monkeypatch, number):
    """NFS whose server has no lock daemon, and some FUSE file systems."""

    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    words = rf"cannot be locked \({os.strerror(number)}\): record on another file system.*{tmp_path}.*\.lock"
    with pytest.raises(OSError, match=words):
        create(tmp_path, record())
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys
from pathlib import Path
from results import lock
held = lock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_free(written):
    written.finish("interrupted")
    command = [sys.executable, "-c", HOLD, str(written.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"process {other.pid} on "):
            resume(written.path, record())
        other.kill()
    assert resume(written.path, record()).missing_seeds == [2]
