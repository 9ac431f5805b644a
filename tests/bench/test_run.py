"""The command as people start it: in a process of its own, killed, resumed, launched by Accelerate."""

import json
from pathlib import Path

import pytest

from pipelines import recipe
from pipelines.data import sources
from results import store
from tests.bench.conftest import ONE_THREAD, RUN, SMALL, launch, only_run, settled, wait


def test_help_does_not_wait_for_torch(tmp_path):
    ended = wait(launch("-X", "importtime", RUN, "--help", cwd=tmp_path))
    assert ended.status == 0
    assert "mnist/base " in ended.out
    modules = {line.rpartition("|")[2].strip() for line in ended.err.splitlines()}
    assert "pipelines.recipe.schema" in modules
    assert modules.isdisjoint({"torch", "accelerate", "sklearn", "torchvision"})


def test_a_first_run_is_kept(first_run):
    ended, seconds, folder = first_run
    assert (ended.status, ended.err) == (0, "")
    run = only_run(folder / "runs")
    assert json.loads((run.path / "run.json").read_text())["status"] == "finished"
    lines = (run.path / "trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1, 2]
    assert run.record.command == ["bench/run.py", *SMALL, *ONE_THREAD]
    assert run.record.environment.variables["OMP_NUM_THREADS"] == "1"
    assert run.record.environment.threads.intra_op == 1
    first, *others = run.trials
    assert 0.1 < first.seconds("startup") < first.seconds("total") < seconds + 0.1
    assert not any(trial.seconds("startup", "load", "compile", "total") for trial in others)


def test_a_first_run_shows_its_trials_its_table_its_record_and_what_is_next(first_run):
    ended, _, folder = first_run
    run = only_run(folder / "runs")
    for number, trial in enumerate(run.trials, start=1):
        assert f"digits/quick: trial {number}/3, seed {trial.seed}: {trial.outcome}, {trial.accuracy:.2%}" in ended.out
        cells = [str(trial.seed), f"{100 * trial.accuracy:.2f}"]
        lines = ended.out.replace("‡", "").splitlines()  # the mark of a trial on a busy machine
        assert cells in [line.split()[:2] for line in lines]
    assert f"digits/quick, run {run.record.id}" in ended.out
    assert "strict time" in ended.out
    assert f"\nrecord: runs/{run.path.name}\n" in ended.out
    assert "next: accelerate launch bench/run.py mnist/base" in ended.out
    assert "\x1b" not in ended.out, "control characters in a log"


def test_another_process_gets_the_same_numbers(first_run, main):
    _, _, folder = first_run
    assert main(*SMALL, "--quiet").status == 0
    assert settled(only_run("runs")) == settled(only_run(folder / "runs"))


def test_quiet_shows_a_line_a_trial(main):
    ended = main(*SMALL, "--trials", "2", "--quiet")
    lines = [line.partition(",")[0] for line in ended.out.splitlines() if line.startswith("digits/quick: ")]
    on_a_calm_machine = [line for line in lines if not line.startswith("digits/quick: warning: ")]
    assert on_a_calm_machine == ["digits/quick: trial 1/2", "digits/quick: trial 2/2"]


def test_json_has_an_object_per_run_and_nothing_else(main):
    ended = main("digits/quick", "digits/short", *SMALL, "--trials", "1", "--json")
    assert ended.status == 0
    objects = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["recipe"] for one in objects] == ["digits/quick", "digits/short"]
    runs = store.find([one["path"] for one in objects])
    assert [one["trials"][0]["accuracy"] for one in objects] == [run.trials[0].accuracy for run in runs]
    assert "digits/quick: trial 1/1" in ended.err


def test_several_recipes_have_a_record_and_a_row_each(main):
    Path("mine.yaml").write_text("base: digits/quick\ntitle: mine\n")
    ended = main("digits/quick", "mine.yaml", *SMALL, "--trials", "1", "--protocol", "dawnbench")
    assert (ended.status, ended.err) == (0, "")
    assert {run.record.recipe_name for run in store.find(["runs"])} == {"digits/quick", "mine"}
    assert ended.out.count("record: ") == 2
    rows = [line.split()[0] for line in ended.out.splitlines() if "of 1 (97%)" in line]
    assert rows == ["digits/quick", "mine"]
    assert "dawnbench time" in ended.out


def test_a_yaml_file_anywhere(main, tmp_path):
    path = tmp_path / "elsewhere" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("base: digits/quick\nepochs: 1\n")
    ended = main(path, "model.widths=[4]", "--trials", "1")
    assert (ended.status, ended.err) == (0, "")
    run = only_run("runs")
    assert run.record.recipe["epochs"] == 1
    assert run.path.name.split("_")[1] == "mine"


AT_ONCE = ("digits/quick", "mnist/base", "mnist/fixmatch", "mnist/contrastive", "mnist/distillation")
LARGER = ("cifar10/airbench95", "cifar10/airbench96", "cifar10/davidnet-80")
STEPS = ("00-resnet18", "03-choices-in-bulk", "09-davidnet", "30-ten-epochs", "47-airnet-alternating-flip")
FAMILIES = {
    "cifar10/ladder/": STEPS,
    "cifar10/ddp/": ("apple-8",),
    "cifar10/deepspeed/": ("zero-3",),
    "mnist/init-": ("orthogonal",),
    "mnist/schedule-": ("one-cycle", "plateau"),
    "mnist/large-batch/": ("accumulated", "growing-batch", "lars"),
    "mnist/strategies/": ("ddp-bf16", "local-sgd", "pipeline"),
}
"""of recipes that differ in one option, some"""
SAMPLED = [
    *(name for name in recipe.names() if name not in LARGER and not name.startswith(tuple(FAMILIES))),
    *(family + name for family, names in FAMILIES.items() for name in names),
]
"""all but most of the families, and larger networks of the same kind, which other tests build"""
NARROW = {
    "airnet": ("model.widths=[8,16,16]",),
    "alexnet": ("model.widths=[8,16,16,16,8]", "model.hidden=16"),
    "davidnet": ("model.widths=[8,8,16,16]",),
    "gpt2": ("model.layers=2", "model.width=24"),
    "resnet18": ("model.widths=[8,8,16,16]",),
    "wide_resnet": ("model.depth=10", "model.factor=1"),
}
"""by the network: narrow ones train on a CPU in a tenth of the time. Another test builds each in full width"""
EMULATED = "warning: this CPU has no bfloat16"
"""how a warning begins that a recipe in half precision gets on some CPUs"""


@pytest.mark.parametrize(
    "name", [name if name in AT_ONCE else pytest.param(name, marks=pytest.mark.slow) for name in SAMPLED]
)
def test_a_smoke_test_works_and_is_kept_apart(main, name):
    narrow = NARROW.get(recipe.load(name).model.name, ())
    chosen, folder = recipe.load(name, narrow), sources.default_folder()
    if chosen.loader.package:
        pytest.importorskip(chosen.loader.package)
    ended = main(name, *narrow, "--smoke-test", "--trials", "1", "--data-dir", folder)
    said = [line for line in ended.err.splitlines() if not line.startswith(EMULATED)]
    assert (ended.status, said) == (0, [])
    run = only_run("runs")
    assert (run.record.smoke_test, run.record.status) == (True, "finished")
    assert run.record.recipe_hash != chosen.hash
    data = run.record.recipe["data"]
    assert (data["tokens"]["sequences"] if data.get("tokens") else data["limit"]) <= 128
    assert "(smoke test: its numbers mean nothing" in " ".join(ended.out.split())
    assert run.trials[0].samples <= 256


@pytest.mark.parametrize("name", ["mnist/base", "mnist/fixmatch"])
def test_a_smoke_test_without_its_data_trains_on_made_up_images(main, tmp_path, name):
    nowhere = tmp_path / "empty"
    ended = main(name, "--smoke-test", "--trials", "1", "--data-dir", nowhere)
    assert (ended.status, ended.err) == (0, "")
    assert f"mnist is not in {nowhere}: the smoke test trains on made-up images of its shape" in ended.out
    record = only_run("runs").record
    assert (record.smoke_test, record.data.is_published) == (True, False)
    assert not nowhere.exists()


def test_cross_validation_ends_with_a_line_on_all_folds(main):
    ended = main(*SMALL, "--folds", "2", "--trials", "1", "--quiet")
    assert (ended.status, ended.err) == (0, "")
    runs = store.find(["runs"])
    assert [run.record.recipe["data"]["fold"] for run in runs] == [0, 1]
    assert "digits/quick: 2 folds, trials of each: 1: held-out accuracy" in ended.out


def test_a_run_with_training_accuracy_ends_with_where_its_error_comes_from(main):
    ended = main(*SMALL, "evaluation.train_accuracy=true", "--trials", "1", "--quiet")
    assert "digits/quick: mostly underfitting (bias" in ended.out


def test_a_recipe_without_a_target_is_trained_without_evaluation(main):
    small = [
        "data={name: made-up, made_up: {images: 128, size: 8, classes: 10}}",
        "target=null",
        "evaluation.every=null",
    ]
    ended = main("digits/quick", *small, *SMALL, "augment.crop=0", "--trials", "1")
    assert ended.status == 0, ended.err
    (trial,) = only_run("runs").trials
    assert (trial.outcome, trial.target, trial.accuracy) == ("finished", None, None)
    assert not trial.seconds("evaluate", "final_evaluate")
    assert "images/s" in ended.out
    assert "accuracy" not in ended.out


TINY_TOKENS = (
    "throughput/gpt2-124m",
    "data.tokens={sequences: 8, length: 8, vocabulary: 50}",
    "model={name: gpt2, layers: 1, width: 16, heads: 2, vocabulary: 64, context: 8}",
    "batch_size=2",
    "epochs=2",
    "compile=false",
    "precision=float32",  # without a warning on a CPU that emulates bfloat16
)


def test_a_recipe_on_tokens_is_trained(main):
    ended = main(*TINY_TOKENS, "--trials", "1")
    assert (ended.status, ended.err) == (0, "")
    (trial,) = only_run("runs").trials
    assert (trial.outcome, trial.steps, trial.samples) == ("finished", 8, 16)
    assert "tokens/s" in ended.out
    assert "accuracy" not in ended.out


def test_its_json_has_tokens_a_second(main):
    ended = main(*TINY_TOKENS, "--trials", "1", "--json")
    found = json.loads(ended.out)
    assert found["unit"] == "tokens/s"
    assert found["trials"][0]["rate"] > 0


def test_tracking_without_test_images_is_refused(main):
    pytest.importorskip("tensorboard")
    ended = main(*TINY_TOKENS, "--track")
    assert ended.status == 2
    assert "--track evaluates on test images, and made-up-tokens has none" in ended.err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluation.every=null"], "target=0.97 needs an evaluation"),
        (["data={name: made-up, made_up: {images: 64, size: 8}}"], "made-up has no test images"),
        (["data={name: made-up}"], "set how many and how large"),
        (["data.made_up={images: 64, size: 8}"], "data.made_up is for made-up"),
    ],
)
def test_what_does_not_go_with_a_target_is_refused(main, overrides, message):
    ended = main("digits/quick", *overrides)
    assert ended.status == 2
    assert message in ended.err
