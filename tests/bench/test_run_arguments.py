import json
from pathlib import Path
from typing import Annotated, Literal

import pytest

from bench import run_arguments
from pipelines import recipe
from pipelines.data.sources import default_folder
from pipelines.recipe import Recipe, RecipeError
from pipelines.recipe.config import configs_in, documented
from pipelines.recipe.networks import ConvNet, DavidNet
from results import store
from tests.results import builders


def jobs(*arguments):
    return run_arguments.jobs(run_arguments.parse(list(arguments)))


@pytest.fixture
def refusal(capsys):
    """What is on stderr after a command line that makes no sense."""

    def call(*arguments):
        with pytest.raises(SystemExit) as leaving:
            run_arguments.parse(list(arguments))
        assert leaving.value.code == 2
        return capsys.readouterr().err

    return call


@pytest.fixture
def help_text(capsys):
    with pytest.raises(SystemExit) as leaving:
        run_arguments.parse(["--help"])
    assert leaving.value.code == 0
    return capsys.readouterr().out


@pytest.fixture
def kept(tmp_path):
    """The directory of a run of two seeds that has no trial yet."""
    chosen = recipe.load("digits/quick", ["epochs=3"])
    settings = {"recipe_name": "digits/quick", "recipe": chosen.model_dump(mode="json"), "recipe_hash": chosen.hash}
    return store.create(tmp_path, builders.record(**settings, seeds=[4, 7], sample=True)).path


def squeezed(text):
    return "".join(text.split())


def test_defaults():
    options = run_arguments.parse([])
    assert vars(options) == {
        "words": [],
        "trials": None,
        "seed": None,
        "folds": None,
        "sample": False,
        "device": "auto",
        "threads": None,
        "protocol": "record",
        "data_dir": default_folder(),
        "out": Path("runs"),
        "resume": None,
        "track": False,
        "profile": False,
        "energy": False,
        "suite": None,
        "interleave": False,
        "timeout": 300,
        "batch_per_process": None,
        "scaling": None,
        "side_by_side": None,
        "turns": None,
        "dry_run": False,
        "quiet": False,
        "list": False,
    }
    assert run_arguments.jobs(options) == [run_arguments.Job("digits/quick", recipe.load("digits/quick"), (0, 1, 2))]


def test_the_data_folder_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("PACELINE_DATA", "/elsewhere")
    assert run_arguments.parse([]).data_dir == Path("/elsewhere")
    assert run_arguments.parse(["--data-dir", "here"]).data_dir == Path("here")


def test_words_with_an_equals_sign_override_every_recipe_that_is_named():
    found = jobs("epochs=2", "mnist/base", "optimizer.lr=0.5", "digits/quick", "--trials", "1")
    assert [job.name for job in found] == ["mnist/base", "digits/quick"]
    assert [job.recipe.epochs for job in found] == [2, 2]
    assert [job.recipe.optimizer.lr for job in found] == [0.5, 0.5]
    assert [job.recipe.optimizer.name for job in found] == ["adamw", "sgd"]


def test_options_may_stand_between_the_words():
    (job,) = jobs("mnist/base", "--trials", "1", "epochs=2", "--quiet", "batch_size=8")
    assert (job.name, job.seeds, job.recipe.epochs, job.recipe.batch_size) == ("mnist/base", (0,), 2, 8)


def test_overrides_alone_are_for_the_default_recipe():
    (job,) = jobs("batch_size=32")
    assert (job.name, job.recipe.batch_size) == ("digits/quick", 32)


def test_a_glob_stands_for_all_that_it_matches_and_a_recipe_comes_once():
    assert [job.name for job in jobs("*/*", "*/*/*")] == sorted(recipe.names(), key=lambda name: name.count("/"))
    assert [job.name for job in jobs("digits/quick", "d*/q*", "digits/quick")] == ["digits/quick"]


def test_a_path_to_a_yaml_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: digits/quick\nbatch_size: 48\n")
    (job,) = jobs(str(path))
    assert (job.name, job.recipe) == ("mine", recipe.load("digits/quick", ["batch_size=48"]))


def test_seeds_count_up_from_the_first():
    assert jobs("--seed", "7", "--trials", "2")[0].seeds == (7, 8)
    assert jobs("--trials", "5")[0].seeds == (0, 1, 2, 3, 4)
    assert jobs("--seed", "3")[0].seeds == (3, 4, 5)


def test_sample_shortens_every_recipe():
    for job in jobs("mnist/base", "digits/quick", "--sample"):
        assert job.sample
        assert job.recipe == recipe.smoke_test(recipe.load(job.name))


def test_resume_takes_everything_from_the_run(kept):
    (job,) = jobs("--resume", str(kept))
    assert (job.name, job.seeds, job.sample, job.resume) == ("digits/quick", (4, 7), True, kept)
    assert job.recipe == recipe.load("digits/quick", ["epochs=3"])


@pytest.mark.parametrize("more", ["mnist/base", "epochs=2", "--trials 3", "--seed 0", "--sample"])
def test_resume_with_anything_that_the_run_has_settled_is_refused(refusal, kept, more):
    assert "--resume goes on with the recipe, trials and seeds of the run" in refusal(
        "--resume", str(kept), *more.split()
    )


def test_resume_of_a_recipe_that_no_longer_exists_names_the_run(kept):
    text = (kept / "run.json").read_text()
    (kept / "run.json").write_text(text.replace('"kernel_size": 3', '"kernel": 3'))
    with pytest.raises(RecipeError, match=r"abcd1234: model.kernel: there is no such option"):
        jobs("--resume", str(kept))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--trials", "0"), "--trials: must be at least 1"),
        (("--trials", "many"), "--trials: 'many' is not a whole number"),
        (("--trials", "1.5"), "--trials: '1.5' is not a whole number"),
        (("--trials", "-1"), "--trials: '-1' is not a whole number"),
        (("--seed", "-1"), "--seed: '-1' is not a whole number"),
        (("--seed", ""), "--seed: '' is not a whole number"),
        (("--threads", "0"), "--threads: must be at least 1"),
        (("--protocol", "mine"), "--protocol: invalid choice: 'mine'"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
        (("--resume",), "--resume: expected one argument"),
    ],
)
def test_an_option_with_a_wrong_value_is_named(refusal, arguments, words):
    assert words in refusal(*arguments)


def test_a_wrong_option_takes_one_line(refusal):
    assert refusal("--trials", "0") == "bench/run.py: error: argument --trials: must be at least 1; see --help\n"
    assert refusal("--nonsense").count("\n") == 1


def test_the_help_shows_every_knob_with_its_type_default_and_documentation(help_text):
    text = squeezed(help_text)
    knobs = list(documented(Recipe))
    assert len(knobs) > 50
    for key, field in knobs:
        group_or_required = field.is_required() or configs_in(field.annotation)
        default = "" if group_or_required else f" [{json.dumps(field.get_default())}]"
        assert f"\n  {key} " in help_text, key
        assert field.description, key
        kind = run_arguments.type_name(field.annotation)
        assert squeezed(f"{key} {kind}{default}: {field.description}") in text, key


def test_a_few_knobs_as_the_help_shows_them(help_text):
    text = squeezed(help_text)
    assert squeezed("  epochs number: passes over the training images") in text
    assert squeezed('  augment.flip none|random|alternating ["none"]: left-right flip') in text
    assert squeezed("  optimizer sgd|adamw|muon|adam|rmsprop|adadelta|lars|lamb: the optimizer") in text


def test_the_help_shows_every_option(help_text):
    for name in vars(run_arguments.parse([])):
        if name != "words":
            assert f"--{name.replace('_', '-')}" in help_text
    assert max(map(len, help_text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "integer"),
        (float, "number"),
        (bool, "true|false"),
        (str | None, "text|null"),
        (Literal["a", "b"], "a|b"),
        (tuple[int, ...], "list of integer"),
        (Annotated[float, "above 0"] | None, "number|null"),
        (Annotated[DavidNet | ConvNet, "by name"], "davidnet|convnet"),
    ],
)
def test_types_by_the_names_that_people_know(annotation, name):
    assert run_arguments.type_name(annotation) == name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("digits/quik",),
            r"no recipe is called 'digits/quik' \(did you mean digits/quick or digits/short\?\); --list shows them all",
        ),
        (("zzz",), "no recipe is called 'zzz'; --list"),
        (("cifar10/x*",), r"no recipe is called 'cifar10/x\*'"),
        (("nosuch=1",), "digits/quick: nosuch: there is no such option; --help lists them"),
        (("model.nosuch=1",), "digits/quick: model.nosuch: there is no such option"),
        (("epochs=many",), "digits/quick: epochs='many': it should be a valid number"),
        (("batch_size=2.5",), "digits/quick: batch_size=2.5: "),
        (("batch_size=true",), "digits/quick: batch_size=True: it should be a valid integer"),
        (("channels_last=1",), "digits/quick: channels_last=1: it should be a valid boolean"),
        (("epochs=0",), "digits/quick: epochs=0: it should be greater than 0"),
        (("epochs=.nan",), "digits/quick: epochs="),
        (("augment.flip=sideways",), "augment.flip='sideways': it should be 'none', 'random' or 'alternating'"),
        (("optimizer.name=lion",), "optimizer"),
        (("epochs =2",), "an override is written key=value"),
        (("=2",), "an override is written key=value"),
        (("epochs=[1",), r"'\[1' is not a YAML value"),
        (("nowhere.yaml",), "nowhere.yaml: there is no such recipe file"),
    ],
)
def test_a_wrong_word_is_named_with_its_remedy_in_one_line(words, message):
    with pytest.raises(RecipeError, match=message) as raised:
        jobs(*words)
    assert "\n" not in str(raised.value)


def test_a_broken_yaml_file_is_named(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("epochs: [1\nbatch_size: }")
    with pytest.raises(RecipeError, match=r"broken.yaml: is not YAML: .* line 2") as raised:
        jobs(str(path))
    assert "\n" not in str(raised.value)


def test_a_wrong_recipe_among_several_stops_all_of_them():
    with pytest.raises(RecipeError, match=r"mnist/base: augment.crop=-1"):
        jobs("mnist/base", "digits/quick", "augment.crop=-1")


def test_cross_validation_is_a_run_for_each_fold():
    found = jobs("digits/quick", "--folds", "3", "--trials", "1", "epochs=2")
    assert [(job.recipe.data.folds, job.recipe.data.fold) for job in found] == [(3, 0), (3, 1), (3, 2)]
    assert {(job.name, job.recipe.data.evaluate, job.recipe.epochs) for job in found} == {
        ("digits/quick", "validation", 2)
    }
    assert len({job.recipe.hash for job in found}) == 3


@pytest.mark.parametrize("count", ["1", "0", "x"])
def test_cross_validation_needs_two_folds(refusal, count):
    assert "argument --folds" in refusal("--folds", count)


def test_a_resumed_run_has_its_own_fold(refusal, kept):
    assert "--resume goes on with" in refusal("--resume", str(kept), "--folds", "2")


def test_a_batch_per_process_grows_with_the_world_and_the_rate_with_the_batch(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    (job,) = jobs("digits/quick", "--batch-per-process", "64")
    assert job.recipe.batch_size == 512
    assert (job.recipe.scaling.reference_batch, job.recipe.scaling.lr) == (64, "linear")
    (job,) = jobs("digits/quick", "scaling={reference_batch: 32, lr: sqrt}", "--batch-per-process", "16")
    assert (job.recipe.batch_size, job.recipe.scaling.reference_batch, job.recipe.scaling.lr) == (128, 32, "sqrt")
    (job,) = jobs("digits/quick")
    assert (job.recipe.batch_size, job.recipe.scaling) == (64, None)
