"""`bench/run.py --scaling`: what it launches, and one launch for real."""

import shlex

import pytest

from bench import run_arguments, scaling
from results import store
from tests.bench.conftest import RUN, SMALL, command


def of_command(*words):
    return run_arguments.parse([*words, "--dry-run"])


def planned(capsys, *words):
    """The commands that a launch would run, as lists of words."""
    assert scaling.main(of_command(*words)) == 0
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def after(words, option):
    return words[words.index(option) + 1]


def test_every_size_is_launched_at_the_fixed_batch_and_without_exchange_and_at_a_fixed_share():
    found = [(launch.processes, launch.changes) for launch in scaling.launches([4, 1], 128)]
    assert found == [
        (1, ()),
        (4, ()),
        (4, ("parallel.exchange=false",)),
        (4, ("--batch-per-process", "128")),
    ]


def test_from_two_processes_on_the_share_is_theirs():
    assert scaling.launches([2, 4], 128)[-1].changes == ("--batch-per-process", "64")


def test_one_process_needs_no_launcher_and_several_get_one(capsys):
    one, *several = planned(capsys, *SMALL, "--scaling", "1,2", "--trials", "2", "--seed", "5")
    assert "torch.distributed.run" not in one
    assert all(after(words, "--nproc_per_node") == "2" for words in several)
    for words in (one, *several):
        assert set(SMALL) <= set(words)
        assert (after(words, "--trials"), after(words, "--seed")) == ("2", "5")


def test_all_records_of_a_scaling_lie_in_one_folder_and_all_processes_have_as_many_threads(capsys):
    commands = planned(capsys, "--scaling", "1,2")
    assert len({after(words, "--out") for words in commands}) == 1
    assert len({after(words, "--threads") for words in commands}) == 1
    assert {after(words, "--threads") for words in planned(capsys, "--scaling", "1,2", "--threads", "3")} == {"3"}


def test_taking_turns_each_seed_goes_through_all_launches_before_the_next(capsys):
    commands = planned(capsys, "--scaling", "1,2", "--trials", "2", "--interleave")
    assert [after(words, "--seed") for words in commands] == ["0"] * 4 + ["1"] * 4
    assert {after(words, "--trials") for words in commands} == {"1"}


def test_what_the_launcher_of_this_process_set_is_not_handed_on():
    kept = scaling.clean(
        {"RANK": "0", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "x", "A": "1"}, 2
    )
    assert kept == {"A": "1", "OMP_NUM_THREADS": "2"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("mnist/base", "--scaling", "1,3"), "batch_size=32 cannot be shared equally by 3 processes"),
        (("mnist/*", "--scaling", "1,2"), "takes one recipe"),
    ],
)
def test_what_cannot_be_scaled_is_refused(words, complaint):
    with pytest.raises(ValueError, match=complaint):
        scaling.main(of_command(*words))


def test_in_a_world_of_several_it_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="launch it in one"):
        scaling.main(of_command("--scaling", "1,2"))


@pytest.mark.slow
def test_two_sizes_are_trained_and_their_tables_printed(tmp_path):
    ended = command(*SMALL, "--scaling", "1,2", "--trials", "1", "--device", "cpu", cwd=tmp_path)
    assert ended.status == 0, ended.err
    (folder,) = (tmp_path / "runs").iterdir()
    records = {run.record.world_size: run.record for run in store.find([folder])}
    assert len(store.find([folder])) == 4
    assert records[2].environment.gradient_bytes == records[1].environment.gradient_bytes > 0
    assert all(seconds > 0 for _, seconds in records[2].environment.all_reduce)
    assert records[1].environment.all_reduce == []
    strategies = {
        run.record.environment.strategy
        for run in store.find([folder])
        if run.record.recipe["parallel"]["exchange"] is False
    }
    assert strategies == {"none"}
    for title in ("strong scaling", "weak scaling", "time to target", "exchange of gradients", "prediction"):
        assert title in ended.out


@pytest.mark.slow
def test_the_first_launch_that_fails_ends_it(tmp_path):
    ended = command("--scaling", "1,2", "--data-dir", tmp_path, "mnist/base", "--device", "cuda:99", cwd=tmp_path)
    assert ended.status == 2
    assert ended.out.count("processes,") == 0
    assert str(RUN.name) in ended.err
