"""`bench/run.py --side-by-side`: how a machine is shared out, and recipes that really train at the same time."""

import os
import signal
import time

import pytest

from bench import run_arguments, side_by_side
from bench.side_by_side import Place, places
from pipelines.host import runtime
from results import store
from tests.bench.conftest import SMALL, command, launch, wait


def options(*words):
    return run_arguments.parse([*words, "--side-by-side", "2"])


def test_cores_are_shared_equally_and_each_has_a_gpu_of_its_own():
    assert places(2, [0, 1, 2, 3], []) == [Place((0, 1)), Place((2, 3))]
    assert places(2, [4, 5, 6, 7, 8], ["GPU-a", "GPU-b", "GPU-c"]) == [Place((4, 5), "GPU-a"), Place((6, 7), "GPU-b")]


@pytest.mark.parametrize(
    ("cores", "gpus", "complaint"), [([0], [], "there are 1 cores"), ([0, 1, 2], ["GPU-a"], "each takes a GPU")]
)
def test_what_is_too_little_to_share_is_refused(cores, gpus, complaint):
    with pytest.raises(ValueError, match=complaint):
        places(2, cores, gpus)


def test_a_launch_is_told_what_the_caller_said_of_one_recipe(tmp_path):
    given = options("mnist/*", "digits/quick", "epochs=2", "--seed", "3", "--sample", "--out", str(tmp_path))
    words = side_by_side.arguments_of(given, "digits/quick", 5)
    told = run_arguments.parse(words)
    assert told.words == ["digits/quick", "epochs=2"]
    assert (told.trials, told.seed, told.sample, told.out, told.quiet) == (5, 3, True, tmp_path, True)
    assert told.side_by_side is None


def test_a_launch_sees_its_gpu_alone_and_knows_of_its_neighbours():
    found = side_by_side.variables({"OMP_NUM_THREADS": "1", "RANK": "0", "A": "1"}, Place((0, 1), "GPU-b"), 2)
    assert found == {"A": "1", "OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "GPU-b", runtime.AT_A_TIME: "2"}


def test_one_process_starts_the_others(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="launch it in one"):
        side_by_side.main(options())


@pytest.mark.parametrize("other", [("--interleave",), ("--folds", "3"), ("--scaling", "1,2"), ("--energy",)])
def test_what_does_not_go_with_neighbours_is_refused(capsys, other):
    with pytest.raises(SystemExit) as refused:
        options("digits/quick", *other)
    assert refused.value.code == 2
    assert f"--side-by-side does not go with {other[0]}" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_two_recipes_train_at_the_same_time_and_their_records_say_so(tmp_path):
    (tmp_path / "other.yaml").write_text("base: digits/quick\n")
    words = ("digits/quick", "other.yaml", *SMALL, "--trials", "1", "--device", "cpu")
    ended = command(*words, "--side-by-side", "2", cwd=tmp_path)
    assert ended.status == 0, ended.err
    runs = {run.record.recipe_name: run.record for run in store.find([tmp_path / "runs"])}
    assert sorted(runs) == ["digits/quick", "other"]
    assert all(record.environment.machine_class.endswith(", 2 runs at a time") for record in runs.values())
    assert "digits/quick: trial 1/1" in ended.out
    assert ended.out.count("record: ") == 2


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_a_signal_ends_all_and_keeps_what_there_is(tmp_path):
    words = ("digits/quick", *SMALL, "--trials", "100", "--device", "cpu", "--side-by-side", "2")
    process = launch(side_by_side.RUN, *words, cwd=tmp_path)
    while not list(tmp_path.glob("runs/*/trials.jsonl")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    ended = wait(process)
    assert ended.status == 143, ended.err
    (run,) = store.find([tmp_path / "runs"])
    assert run.record.status == "interrupted"


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_what_a_launch_complains_of_is_passed_on_with_its_status(tmp_path):
    ended = command("digits/quick", "--device", "cuda:99", "--side-by-side", "2", cwd=tmp_path)
    assert ended.status == 2
    assert "cuda:99" in ended.err
    assert "Traceback" not in ended.err
