"""bench/scale.py: what it launches, and one launch for real."""

import json
import shlex

import pytest

from bench import scale
from bench.command_line import jobs
from bench.training.launch import Children
from pipelines import recipe as recipes
from pipelines.host import extras
from pipelines.recipe.parallel import STRATEGIES
from results import store
from results.tables.scaling import scaling_tables
from tests.bench.conftest import ROOT, SMALL, launch, wait
from tests.results import builders


def planned(capsys, *words):
    """The commands that would be run, as lists of words."""
    assert scale.main([*words, "--dry-run"]) == 0
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def after(words, option):
    return words[words.index(option) + 1]


def test_every_size_trains_at_the_fixed_batch_and_without_the_all_reduce_and_at_a_fixed_share():
    found = [(size.processes, size.changes) for size in scale.all_sizes([4, 1], 128)]
    assert found == [
        (1, ()),
        (4, ()),
        (4, ("parallel.sync_gradients=false",)),
        (4, ("--batch-per-process", "128")),
    ]


def test_strategies_train_at_a_fixed_batch_on_several_processes_and_one_alone():
    found = [
        (size.processes, size.changes)
        for size in scale.by_strategy([1, 2, 4], recipes.load("digits/quick"), ["ddp", "zero-1"])
    ]
    ddp = ("parallel.strategy=ddp", "--communication")
    zero = ("parallel.strategy=deepspeed", "parallel.zero_stage=1", "--communication")
    assert found == [(1, ()), (2, ddp), (4, ddp), (2, zero), (4, zero)]


@pytest.mark.parametrize(
    ("accumulation", "changes"),
    [(1, ("accumulation=8", "drop_last=true")), (2, ("accumulation=8", "drop_last=true")), (4, ())],
)
def test_a_pipeline_has_micro_batches_for_its_processes(accumulation, changes):
    recipe = recipes.load("digits/quick", [f"accumulation={accumulation}"])
    (size,) = scale.by_strategy([4], recipe, ["pipeline"])
    assert size.changes == ("parallel.strategy=pipeline", *changes, "--communication")


@pytest.mark.parametrize("strategy", sorted(STRATEGIES.keys() - {"columns"}))
def test_every_strategy_has_a_recipe_that_says_the_same(strategy):
    chosen = recipes.load(f"mnist/strategies/{strategy}")
    (size,) = scale.by_strategy(
        [4], recipes.load("mnist/strategies/ddp", [f"accumulation={chosen.accumulation}"]), [strategy]
    )
    changes = [change for change in size.changes if "=" in change]
    assert chosen.parallel == recipes.load("mnist/strategies/ddp", changes).parallel
    assert recipes.load("cifar10/strategies/alexnet").parallel.strategy == "columns"


@pytest.mark.parametrize(("names", "message"), [("ddp,nccl", "there is no strategy 'nccl'"), ("ddp,ddp", "twice")])
def test_strategies_are_known_and_different(capsys, names, message):
    with pytest.raises(SystemExit) as leaving:
        scale.parse(["--strategies", names])
    assert leaving.value.code == 2
    assert message in capsys.readouterr().err


def test_from_two_processes_on_the_share_is_theirs():
    assert scale.all_sizes([2, 4], 128)[-1].changes == ("--batch-per-process", "64")


def test_one_process_needs_no_launcher_and_several_get_one(capsys):
    one, *several = planned(capsys, *SMALL, "--processes", "1,2", "--trials", "2", "--seed", "5")
    assert "torch.distributed.run" not in one
    assert all(after(words, "--nproc_per_node") == "2" for words in several)
    for words in (one, *several):
        assert set(SMALL) <= set(words)
        assert (after(words, "--trials"), after(words, "--seed")) == ("2", "5")


def test_all_records_lie_in_one_folder_and_all_processes_have_as_many_threads(capsys):
    commands = planned(capsys, "--processes", "1,2")
    assert len({after(words, "--out") for words in commands}) == 1
    assert len({after(words, "--threads") for words in commands}) == 1
    assert {after(words, "--threads") for words in planned(capsys, "--threads", "3")} == {"3"}


def test_by_seed_each_seed_goes_through_all_sizes_before_the_next(capsys):
    commands = planned(capsys, "--trials", "2", "--by-seed")
    assert [after(words, "--seed") for words in commands] == ["0"] * 4 + ["1"] * 4
    assert {after(words, "--trials") for words in commands} == {"1"}


def test_a_launch_is_given_every_option_that_concerns_a_run(tmp_path):
    words = "digits/quick epochs=2 --smoke-test --track --profile --energy --communication --protocol cold --timeout 9"
    given = scale.parse([*words.split(), "--device", "cpu", "--data-dir", str(tmp_path)])
    for _, one in scale.planned(given, recipes.load("digits/quick"), tmp_path / "out"):
        passed = jobs.parse(list(one.arguments))
        shared = (
            "smoke_test",
            "track",
            "profile",
            "energy",
            "communication",
            "protocol",
            "timeout",
            "device",
            "data_dir",
        )
        assert all(getattr(passed, name) == getattr(given, name) for name in shared)
        assert passed.out == tmp_path / "out"


@pytest.mark.parametrize("option", ["--interleave", "--folds=3", "--suite=x", "--resume=x", "--batch-per-process=3"])
def test_an_option_that_does_not_apply_does_not_exist(capsys, option):
    with pytest.raises(SystemExit) as leaving:
        scale.parse(["digits/quick", option])
    assert leaving.value.code == 2
    assert f"unrecognized arguments: {option.partition('=')[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("sizes", ["1", "1,1", "0,1", "1;2", ""])
def test_sizes_are_two_different_numbers_or_more_without_strategies(capsys, sizes):
    with pytest.raises(SystemExit) as leaving:
        scale.parse(["--processes", sizes])
    assert leaving.value.code == 2
    assert "--processes" in capsys.readouterr().err
    if sizes == "1":
        assert scale.parse(["--processes", sizes, "--strategies", "ddp"]).processes == [1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mnist/base", "--processes", "1,3"), "batch_size=32 cannot be shared equally by 3 processes"),
        (("mnist/*",), "takes one recipe, not "),
        (
            ("mnist/base", "techniques.ema={}", "--strategies", "ddp,fsdp2"),
            "--processes 2, fsdp2: mnist/base: techniques.ema needs the same weights and gradients as without",
        ),
        (
            ("digits/quick", "--strategies", "ddp,pipeline-2x2", "--processes", "2,4,5"),
            "--processes 5, ddp: batch_size=64 cannot be shared equally by 5 processes",
        ),
        (
            ("digits/quick", "batch_size=60", "--strategies", "hsdp", "--processes", "3"),
            "--processes 3, hsdp: parallel.size=2 does not divide 3 processes",
        ),
        (
            ("mnist/base", "techniques.linear_probe={}"),
            "2, 32 images per step: techniques.linear_probe trains",
        ),
    ],
)
def test_what_cannot_be_scaled_is_refused(capsys, words, message):
    assert scale.main([*words, "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_a_strategy_without_its_package_is_refused_before_another_trains(statuses, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    words = ["digits/quick", "--strategies", "ddp,zero-1", "--processes", "2", "--out", str(tmp_path)]
    assert scale.main(words) == 2
    needed = "--processes 2, zero-1: deepspeed is missing: pip install -e '.[deepspeed]' -c constraints.txt"
    assert needed in capsys.readouterr().err
    assert scale.main([*words, "--dry-run"]) == 0, "the commands may be for another machine"
    assert scale.main(["digits/quick", "--strategies", "ddp", "--processes", "2", "--dry-run"]) == 0


def test_more_processes_than_gpus_are_refused_before_any_trains(statuses, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scale.nvml, "visible", lambda variables: ["GPU-a", "GPU-b"])
    words = ["digits/quick", "--processes", "1,2,4", "--out", str(tmp_path)]
    assert scale.main(words) == 2
    refused = "--processes 4: each process takes a GPU of its own, and there are 2: use at most 2, or --device cpu"
    assert refused in capsys.readouterr().err
    assert scale.main([*words, "--dry-run"]) == 0, "the commands may be for another machine"
    scale.check_gpus(scale.parse([*words, "--device", "cpu"]))
    scale.check_gpus(scale.parse(["--processes", "1,2"]))


def test_processes_that_train_on_the_same_images_need_not_divide_the_batch(capsys):
    words = ("mnist/strategies/ddp", "accumulation=4", "--strategies", "pipeline,model", "--processes", "3")
    assert [after(words, "--nproc_per_node") for words in planned(capsys, *words)] == ["3", "3"]


@pytest.fixture
def statuses(monkeypatch):
    """What the launches return, in their order. Each records a run."""
    left = []
    monkeypatch.setattr(scale.nvml, "visible", lambda variables: [])

    def run(self, launch, show):
        folder = jobs.parse(list(launch.arguments)).out
        size = 2 if "torch.distributed.run" in launch.launcher else 1
        recipe = {"epochs": 3, "batch_size": 64}
        record = builders.record(id=f"id{len(left):04}", seeds=[0], world_size=size, recipe=recipe)
        directory = store.create(folder, record)
        directory.append(builders.trial(0, steps=10))
        status, *reason = left.pop(0) if isinstance(left[0], tuple) else (left.pop(0),)
        if status:
            directory.finish("failed", *reason)
        return status

    monkeypatch.setattr(Children, "run", run)
    return left


def test_tables_are_printed_at_the_end(statuses, tmp_path, capsys):
    statuses += [0, 0, 0, 0]
    folder = tmp_path / "mine[" / "b]"  # which rich would read as markup
    assert scale.main(["--out", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "1 of 4: 1 process, 64 images per step" in out
    assert "strong scaling" in out
    assert f"records: {folder}/scaling_" in out


def test_json_has_an_object_per_run_and_nothing_else(statuses, tmp_path, capsys):
    statuses += [0, 0, 0, 0]
    assert scale.main(["--out", str(tmp_path), "--json"]) == 0
    captured = capsys.readouterr()
    assert sorted(json.loads(line)["processes"] for line in captured.out.splitlines()) == [1, 2, 2, 2]
    assert "1 of 4: 1 process" in captured.err


def test_the_first_launch_that_fails_ends_it(statuses, tmp_path, capsys):
    statuses += [0, 3, 0, 0]
    assert scale.main(["--out", str(tmp_path)]) == 3
    assert "3 of 4" not in capsys.readouterr().out


def test_a_strategy_without_enough_memory_is_a_row(statuses, tmp_path, capsys):
    statuses += [(3, "rank 1: OutOfMemory: tried to allocate 3 MB"), 0]
    assert scale.main(["--out", str(tmp_path), "--strategies", "ddp,fsdp2", "--processes", "2"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2: 2 processes, fsdp2" in out
    assert "outcome" in out


def test_any_other_failure_of_a_strategy_ends_it(statuses, tmp_path, capsys):
    statuses += [(3, "rank 1: RuntimeError: no"), 0]
    assert scale.main(["--out", str(tmp_path), "--strategies", "ddp,fsdp2", "--processes", "2"]) == 3
    assert "2 of 2" not in capsys.readouterr().out


@pytest.mark.slow
def test_two_sizes_are_trained_and_their_tables_printed(tmp_path):
    """With --strategies, because that takes two launches. Other sizes differ in the options of theirs alone."""
    words = (*SMALL, "--processes", "1,2", "--strategies", "ddp", "--trials", "1", "--device", "cpu")
    ended = wait(launch(ROOT / "bench" / "scale.py", *words, cwd=tmp_path))
    assert ended.status == 0, ended.err
    (folder,) = (tmp_path / "runs").iterdir()
    runs = store.find([folder])
    records = {run.record.world_size: run.record for run in runs}
    assert {size: record.environment.strategy for size, record in records.items()} == {1: "none", 2: "DDP"}
    assert records[2].environment.gradient_bytes == records[1].environment.gradient_bytes > 0
    assert all(seconds > 0 for _, seconds in records[2].environment.all_reduce)
    assert records[1].environment.all_reduce == []
    assert "digits/quick: strategies" in ended.out
    titles = [table.title.partition(": ")[2] for table in scaling_tables(runs, "strict")]
    for wanted in ("strong scaling", "time to target", "predicted weak scaling"):
        assert any(title.startswith(wanted) for title in titles), titles
