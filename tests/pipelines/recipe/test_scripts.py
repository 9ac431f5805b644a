import pytest

from pipelines import recipe
from pipelines.recipe.scripts import Command, Function


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python train.py --seed {seed}", "train.py"),
        ("/usr/bin/python3.11 -S src/train.py {seed}", "train.py"),
        ("bash run.sh lr=0.1 {seed}", "run.sh"),
        ("./train lr=0.1 {seed}", "train"),
        ("python3.11 -m package {seed}", "python3.11"),
    ],
)
def test_a_command_is_named_after_its_first_file_or_its_program(command, name):
    assert Command(command=command, target=0.9).name == name


def test_the_files_that_a_command_reads_are_those_that_it_names_and_does_not_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train.py", "log.jsonl", "checkpoint", "elsewhere.py"):
        (tmp_path / name).write_text("")
    line = f"python3.11 train.py {tmp_path}/elsewhere.py log.jsonl checkpoint nowhere.py lr=0.1 {{seed}}"
    command = Command(command=line, target=0.9, metrics="json:log.jsonl")
    assert [path.as_posix() for path in command.paths()] == ["train.py", f"{tmp_path}/elsewhere.py"]


@pytest.mark.parametrize(
    ("metrics", "words"), [("json:", "names no file"), ("acc (.*)", "has no group"), ("(", "is not json")]
)
def test_metrics_that_find_no_accuracy_are_refused_before_anything_is_trained(tmp_path, metrics, words):
    path = tmp_path / "mine.yaml"
    path.write_text(f"command: ./train\ntarget: 0.9\nmetrics: {metrics!r}\n")
    with pytest.raises(recipe.RecipeError, match=f"mine.yaml: metrics: .*{words}"):
        recipe.load_any(str(path))


def test_a_function_is_the_same_wherever_its_file_lies_and_another_one_is_not():
    one, moved, other = (Function(entry=entry, target=0.9, code="0" * 64) for entry in ("a.py:f", "b/a.py:f", "a.py:g"))
    assert one.hash == moved.hash != other.hash
