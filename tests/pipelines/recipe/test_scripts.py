import pytest

from pipelines.recipe.scripts import Command


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
