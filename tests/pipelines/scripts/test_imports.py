"""Modules beside the user's own files."""

import sys
from types import ModuleType

import pytest

from pipelines.distributed.process_group import World
from pipelines.recipe.scripts import Function
from pipelines.scripts.function import FunctionTrainer

pytestmark = pytest.mark.usefixtures("modules_as_before")

TRAIN = """
from model_of_mine import ACCURACY

def train(run):
    from layers_of_mine.dense import SHARE  # first imported in a trial
    return ACCURACY * SHARE
"""


def trainer(path, text=TRAIN):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return FunctionTrainer(Function(entry=f"{path}:train", target=0.5), World())


def write_version(folder, accuracy, share):
    (folder / "layers_of_mine").mkdir(parents=True)
    (folder / "layers_of_mine" / "__init__.py").write_text("")
    (folder / "layers_of_mine" / "dense.py").write_text(f"SHARE = {share}")
    (folder / "model_of_mine.py").write_text(f"ACCURACY = {accuracy}")


def test_two_versions_of_one_project_each_import_their_own_modules(tmp_path):
    write_version(tmp_path / "old", accuracy=0.5, share=0.5)
    write_version(tmp_path / "new", accuracy=1.0, share=0.75)
    old, new = (trainer(tmp_path / version / "train.py") for version in ("old", "new"))
    for _ in range(2):
        assert [one.run_trial(0).accuracy for one in (old, new)] == [0.25, 0.75]


def test_files_of_one_folder_share_a_module_that_is_imported_once(tmp_path):
    (tmp_path / "shared_of_mine.py").write_text("VALUES = []")
    text = "from shared_of_mine import VALUES\nVALUES.append(0)\ndef train(run): return len(VALUES) / 2"
    one, _ = (trainer(tmp_path / name, text) for name in ("one_of_mine.py", "two_of_mine.py"))
    assert one.run_trial(0).accuracy == 1


def test_folders_that_a_file_adds_belong_to_it(tmp_path):
    for version in ("old", "new"):
        write_version(tmp_path / version / "source", accuracy=1.0, share=0.25 if version == "old" else 0.75)
    add = "import sys\nfrom pathlib import Path\nsys.path.append(str(Path(__file__).parent / '..' / 'source'))\n"
    old, new = (trainer(tmp_path / version / "runs" / "train.py", add + TRAIN) for version in ("old", "new"))
    assert [one.run_trial(0).accuracy for one in (old, new)] == [0.25, 0.75]


def test_imports_of_others_are_as_before(tmp_path):
    write_version(tmp_path, accuracy=0.5, share=1)
    path = list(sys.path)
    trainer(tmp_path / "train.py").run_trial(0)
    assert sys.path == path
    assert not {"model_of_mine", "layers_of_mine", "layers_of_mine.dense"} & set(sys.modules)


def test_a_module_of_that_name_that_others_import_later_stays_theirs(tmp_path, monkeypatch):
    write_version(tmp_path, accuracy=0.5, share=1)
    one = trainer(tmp_path / "train.py")
    theirs = ModuleType("model_of_mine")
    monkeypatch.setitem(sys.modules, "model_of_mine", theirs)
    assert one.run_trial(0).accuracy == 0.5
    assert sys.modules["model_of_mine"] is theirs


def test_each_file_of_a_folder_has_its_own_name(tmp_path):
    """So that a worker that is spawned can import what it is sent."""
    for name in ("first_of_mine", "second_of_mine"):
        one = trainer(tmp_path / f"{name}.py", f"def train(run): return float(__name__ == {name!r})")
        assert one.run_trial(0).accuracy == 1
