import dataclasses
from pathlib import Path

import pytest

from bench.command_line import jobs
from pipelines import recipe
from pipelines.data.sources import default_folder
from pipelines.recipe import RecipeError
from results import store
from results.record import Plan
from tests.results import builders


def jobs_of(*arguments):
    return jobs.jobs(jobs.parse(list(arguments)))


@pytest.fixture
def refusal(capsys):
    """What is on stderr after a command line that makes no sense."""

    def call(*arguments):
        with pytest.raises(SystemExit) as leaving:
            jobs.parse(list(arguments))
        assert leaving.value.code == 2
        return capsys.readouterr().err

    return call


def keep(folder, **settings):
    """The directory of a run of two seeds that has no trial yet."""
    chosen = recipe.load("digits/quick", ["epochs=3"])
    settings |= {"recipe_name": "digits/quick", "recipe": chosen.model_dump(mode="json"), "recipe_hash": chosen.hash}
    return store.create(folder, builders.record(**settings, seeds=[4, 7], smoke_test=True)).path


@pytest.fixture
def kept(tmp_path):
    return keep(tmp_path)


def test_defaults():
    options = jobs.parse([])
    assert (options.device, options.timeout, options.data_dir, options.out) == (
        "auto",
        None,
        default_folder(),
        Path("runs"),
    )
    assert jobs.jobs(options) == [jobs.Job("digits/quick", recipe.load("digits/quick"), (0, 1, 2))]


def test_the_data_folder_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("PACELINE_DATA", "/elsewhere")
    assert jobs.parse([]).data_dir == Path("/elsewhere")
    assert jobs.parse(["--data-dir", "here"]).data_dir == Path("here")


def test_words_with_an_equals_sign_override_every_recipe_that_is_named():
    found = jobs_of("epochs=2", "mnist/base", "optimizer.lr=0.5", "digits/quick", "--trials", "1")
    assert [job.name for job in found] == ["mnist/base", "digits/quick"]
    assert [job.recipe.epochs for job in found] == [2, 2]
    assert [job.recipe.optimizer.lr for job in found] == [0.5, 0.5]
    assert [job.recipe.optimizer.name for job in found] == ["adamw", "sgd"]


def test_options_may_stand_between_the_words():
    (job,) = jobs_of("mnist/base", "--trials", "1", "epochs=2", "--quiet", "batch_size=8")
    assert (job.name, job.seeds, job.recipe.epochs, job.recipe.batch_size) == ("mnist/base", (0,), 2, 8)


def test_overrides_alone_are_for_the_default_recipe():
    (job,) = jobs_of("batch_size=32")
    assert (job.name, job.recipe.batch_size) == ("digits/quick", 32)


def test_a_glob_stands_for_all_that_it_matches_and_a_recipe_comes_once():
    assert [job.name for job in jobs_of("*/*", "*/*/*")] == sorted(recipe.names(), key=lambda name: name.count("/"))
    assert [job.name for job in jobs_of("digits/quick", "d*/q*", "digits/quick")] == ["digits/quick"]


def test_a_path_to_a_yaml_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: digits/quick\nbatch_size: 48\n")
    (job,) = jobs_of(str(path))
    assert (job.name, job.recipe) == ("mine", recipe.load("digits/quick", ["batch_size=48"]))


def test_seeds_count_up_from_the_first():
    assert jobs_of("--seed", "7", "--trials", "2")[0].seeds == (7, 8)
    assert jobs_of("--trials", "5")[0].seeds == (0, 1, 2, 3, 4)
    assert jobs_of("--seed", "3")[0].seeds == (3, 4, 5)


def test_a_smoke_test_shortens_every_recipe():
    for job in jobs_of("mnist/base", "digits/quick", "--smoke-test"):
        assert job.smoke_test
        assert job.recipe == recipe.smoke_test(recipe.load(job.name))


def test_resume_takes_everything_from_the_run(kept):
    (job,) = jobs_of("--resume", str(kept))
    assert (job.name, job.seeds, job.smoke_test, job.resume) == ("digits/quick", (4, 7), True, kept)
    assert job.recipe == recipe.load("digits/quick", ["epochs=3"])


@pytest.mark.parametrize(("trials", "seeds"), [("2", (4, 7)), ("5", (4, 7, 8, 9, 10))])
def test_resume_adds_trials_with_the_seeds_that_follow(kept, trials, seeds):
    (job,) = jobs_of("--resume", str(kept), "--trials", trials)
    assert (job.seeds, job.resume) == (seeds, kept)


def test_resume_takes_no_trials_away(kept):
    with pytest.raises(ValueError, match=r"--trials 1: .*abcd1234 is a run of 2 trials: give 2 or more"):
        jobs_of("--resume", str(kept), "--trials", "1")


def test_runs_that_were_interleaved_are_resumed_together(tmp_path):
    paths = [keep(tmp_path, id=f"abcd123{number}", interleaved="both") for number in range(2)]
    first, second = jobs_of("--resume", str(paths[0]), "--resume", str(paths[1] / "run.json"), "--trials", "3")
    assert (first.resume, second.resume) == tuple(paths)
    assert first.seeds == second.seeds == (4, 7, 8)


@pytest.mark.parametrize("others", [(None, None), ("one", "other"), ("one", None)])
def test_runs_that_were_not_interleaved_are_resumed_one_by_one(tmp_path, others):
    paths = [keep(tmp_path, id=f"abcd123{number}", interleaved=shared) for number, shared in enumerate(others)]
    with pytest.raises(ValueError, match="abcd1231: was not interleaved with .*abcd1230: resume each alone"):
        jobs_of("--resume", str(paths[0]), "--resume", str(paths[1]))


def test_two_runs_that_are_trained_until_decided_have_a_plan():
    words = ("digits/quick", "mnist/base", "--interleave", "--until-decided", "--trials", "40")
    assert [job.plan for job in jobs_of(*words)] == [Plan(looks=(16, 24, 32, 40))] * 2
    found = jobs_of(*words, "--limit", "time:5%", "--limit", "accuracy:0.3")
    assert [job.plan.limits for job in found] == [{"time": 0.05, "accuracy": 0.003}] * 2
    assert jobs.limits(jobs.parse(words), found) == {"time": 0.05, "accuracy": 0.003}
    assert [job.plan for job in jobs_of(*words[:3])] == [None, None]


@pytest.mark.parametrize(
    ("recipes", "trials", "message"),
    [
        (("digits/quick", "digits/short", "mnist/base"), "40", "--until-decided compares two runs, not 3: name two"),
        (("digits/quick", "digits/short"), "7", "--trials 7: too few for two looks: give 8 or more"),
    ],
)
def test_a_plan_needs_two_runs_and_enough_trials(recipes, trials, message):
    with pytest.raises(ValueError, match=message):
        jobs_of(*recipes, "--interleave", "--until-decided", "--trials", trials)


def test_a_run_is_resumed_once(tmp_path):
    path = str(keep(tmp_path, interleaved="both"))
    with pytest.raises(ValueError, match="abcd1234: is given twice"):
        jobs_of("--resume", path, "--resume", path)


@pytest.mark.parametrize("more", ["mnist/base", "epochs=2", "--seed 0", "--smoke-test", "--suite nightly"])
def test_resume_with_anything_that_the_run_has_settled_is_refused(refusal, kept, more):
    message = refusal("--resume", str(kept), *more.split())
    assert "--resume continues with the recipe and seeds of the run: give only --trials, for more" in message


def test_resume_of_a_recipe_that_no_longer_exists_names_the_run(kept):
    text = (kept / "run.json").read_text()
    (kept / "run.json").write_text(text.replace('"kernel_size": 3', '"kernel": 3'))
    with pytest.raises(RecipeError, match=r"abcd1234: model.kernel: there is no such option"):
        jobs_of("--resume", str(kept))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--trials", "0"), "--trials: must be at least 1"),
        (("--trials", "many"), "--trials: 'many' is not a whole number"),
        (("--trials", "1.5"), "--trials: '1.5' is not a whole number"),
        (("--trials", "-1"), "--trials: '-1' is not a whole number"),
        (("--seed", str(2**53)), "--seed: must be at most 9007199254740991"),
        (("--seed", "-1"), "--seed: '-1' is not a whole number"),
        (("--seed", ""), "--seed: '' is not a whole number"),
        (("--threads", "0"), "--threads: must be at least 1"),
        (("--protocol", "mine"), "--protocol: protocol='mine' is unknown: use one of"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
        (("--resume",), "--resume: expected one argument"),
    ],
)
def test_an_option_with_a_wrong_value_is_named(refusal, arguments, words):
    assert words in refusal(*arguments)


def test_a_wrong_option_takes_one_line(refusal):
    assert refusal("--trials", "0") == "bench/run.py: error: argument --trials: must be at least 1; see --help\n"
    assert refusal("--nonsense").count("\n") == 1


def test_the_help_is_at_most_two_screens_and_shows_every_option(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PACELINE_DATA", "/a/folder/of/data/sets/with/a/long/name")
    with pytest.raises(SystemExit) as leaving:
        jobs.parse(["--help"])
    text = capsys.readouterr().out
    assert leaving.value.code == 0
    assert "(default: $PACELINE_DATA or data)" in text
    assert len(text.splitlines()) <= 60
    for field in dataclasses.fields(jobs.RunOptions):
        assert field.name == "words" or f"--{field.name.replace('_', '-')}" in text


def test_an_old_spelling_is_read_with_a_line_that_says_the_new_one(capsys):
    assert jobs.parse(["--sample"]) == jobs.parse(["--smoke-test"])
    assert capsys.readouterr().err == "bench/run.py: note: --sample is now --smoke-test\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--interleave --resume x", "give --resume once for each of the runs that were interleaved"),
        ("--resume x --out y", "--resume writes to the run that it continues: leave out --out y"),
        ("--command true --target 0.5 --folds 3", "--folds and --batch-per-process are for recipes"),
        ("--command true --target 0.5 --batch-per-process 8", "--folds and --batch-per-process are for recipes"),
        ("digits/quick --command true --folds 3", "leave them out with --command"),
        ("--metrics json:out", "--metrics says where the figures of --command are: add that"),
        ("digits/quick mnist/base --trials 9 --until-decided", "--until-decided needs two recipes, --interleave and"),
        ("digits/quick mnist/base --interleave --until-decided", "the most trials of each: --trials N"),
        ("--interleave --until-decided --trials 9 --folds 2", "--until-decided needs two recipes"),
        ("--until-decided --resume x", "--resume continues with the plan of the runs: leave out --until-decided"),
        ("--limit time:5%", "--limit belongs to --interleave: add that, or use bench/compare.py with --fail-on"),
        ("--interleave --limit time:5", "'5' is not a limit of time: write time:5%"),
        ("--suite nightly --trials 3", "says which recipes and how many"),
        ("--suite nightly mnist/base", "says which recipes and how many"),
    ],
)
def test_options_that_contradict_each_other_are_refused(refusal, words, message):
    assert message in refusal(*words.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("digits/quik",),
            r"called 'digits/quik' \(did you mean digits/quick or digits/short\?\); bench/recipes.py list",
        ),
        (("zzz",), "no recipe is called 'zzz'; bench/recipes.py list"),
        (("cifar10/x*",), r"no recipe is called 'cifar10/x\*'"),
        (("nosuch=1",), "digits/quick: nosuch: there is no such option; bench/run.py --help recipe lists them"),
        (("model.nosuch=1",), "digits/quick: model.nosuch: there is no such option"),
        (("epochs=many",), "digits/quick: epochs='many': it should be a number"),
        (("batch_size=2.5",), "digits/quick: batch_size=2.5: "),
        (("batch_size=true",), "digits/quick: batch_size=true: it should be an integer"),
        (("channels_last=1",), "digits/quick: channels_last=1: it should be true or false"),
        (("epochs=0",), "digits/quick: epochs=0: it should be greater than 0"),
        (("epochs=.nan",), "digits/quick: epochs="),
        (("augment.flip=sideways",), "augment.flip='sideways': it should be none, random or alternating"),
        (("optimizer.name=lion",), "optimizer"),
        (("epochs =2",), "an override is written key=value"),
        (("=2",), "an override is written key=value"),
        (("epochs=[1",), r"'\[1' is not a YAML value"),
        (("nowhere.yaml",), "nowhere.yaml: there is no such file"),
    ],
)
def test_a_wrong_word_is_named_with_its_remedy_in_one_line(words, message):
    with pytest.raises(RecipeError, match=message) as raised:
        jobs_of(*words)
    assert "\n" not in str(raised.value)


def test_a_broken_yaml_file_is_named(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("epochs: [1\nbatch_size: }")
    with pytest.raises(RecipeError, match=r"broken.yaml: is not YAML: .* line 2") as raised:
        jobs_of(str(path))
    assert "\n" not in str(raised.value)


def test_a_wrong_recipe_among_several_stops_all_of_them():
    with pytest.raises(RecipeError, match=r"mnist/base: augment.crop=-1"):
        jobs_of("mnist/base", "digits/quick", "augment.crop=-1")


def test_cross_validation_is_a_run_for_each_fold():
    found = jobs_of("digits/quick", "--folds", "3", "--trials", "1", "epochs=2")
    assert [(job.recipe.data.folds, job.recipe.data.fold) for job in found] == [(3, 0), (3, 1), (3, 2)]
    assert {(job.name, job.recipe.data.evaluate, job.recipe.epochs) for job in found} == {
        ("digits/quick", "validation", 2)
    }
    assert len({job.recipe.hash for job in found}) == 3


@pytest.mark.parametrize("count", ["1", "0", "x"])
def test_cross_validation_needs_two_folds(refusal, count):
    assert "argument --folds" in refusal("--folds", count)


def test_a_resumed_run_has_its_own_fold(refusal, kept):
    assert "--resume continues with" in refusal("--resume", str(kept), "--folds", "2")


def test_a_batch_per_process_grows_with_the_world_and_the_rate_with_the_batch(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    (job,) = jobs_of("digits/quick", "--batch-per-process", "64")
    assert job.recipe.batch_size == 512
    assert (job.recipe.scaling.reference_batch, job.recipe.scaling.lr) == (64, "linear")
    (job,) = jobs_of("digits/quick", "scaling={reference_batch: 32, lr: sqrt}", "--batch-per-process", "16")
    assert (job.recipe.batch_size, job.recipe.scaling.reference_batch, job.recipe.scaling.lr) == (128, 32, "sqrt")
    (job,) = jobs_of("digits/quick", "techniques.ema={momentum: 0.9}", "--batch-per-process", "24")
    assert (job.recipe.batch_size, job.recipe.techniques.ema.momentum) == (192, pytest.approx(0.9**3))
    (job,) = jobs_of("digits/quick")
    assert (job.recipe.batch_size, job.recipe.scaling) == (64, None)
