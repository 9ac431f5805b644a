"""Commands that read a damaged record: status 2 and one line with its path; a note of another form is left out."""

import json
import shutil

import pytest

from bench import compare, exchange, gate, query, report, show
from results import store
from tests.results.test_damaged_records import Record

COMMANDS = {
    "show": (show, "{run}"),
    "compare": (compare, "{whole}", "{run}"),
    "gate": (gate, "{folder}", "--new", "{run}"),
    "report": (report, "{run}", "-o", "{folder}/report"),
    "query": (query, "select * from trials", "{run}"),
    "exchange": (exchange, "to-mlperf", "{run}", "--out", "{folder}/mlperf"),
}


@pytest.fixture
def read(tmp_path, capsys):
    """Calls a command for a record in which one value is another."""

    def call(name, damage):
        record = Record("a recipe on a GPU")
        whole, damaged = tmp_path / "accepted" / "whole", tmp_path / "damaged"
        whole.parent.mkdir()
        shutil.copytree(record.path, whole)
        record.write(damaged, damage)
        module, *words = COMMANDS[name]
        places = {"run": damaged, "whole": whole, "folder": whole.parent}
        status = module.main([word.format(**places) for word in words])
        return status, capsys.readouterr().err.removeprefix(f"bench/{name}.py: error: ").replace(f"{damaged}/", "")

    return call


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_of_another_type_is_one_line_with_the_file(read, name):
    """As `augment.resolution` was: an internal error in whatever computes the time of an epoch."""
    damage = (store.RECORD, ("recipe", "augment", "resolution"), 7)
    line = "run.json: recipe: augment.resolution: Input should be an object\n"
    assert read(name, damage) == (2, line)


@pytest.mark.parametrize("name", ["show", "report"])
@pytest.mark.parametrize("note", [None, 7, "text", [], {"loader_costs": 7, "pipeline": {"bubble": "x"}, "seconds": []}])
def test_a_note_is_no_error_unless_it_is_no_object(read, name, note):
    status, errors = read(name, (store.TRIALS, ("notes",), note))
    if isinstance(note, dict):
        assert (status, errors) == (0, "")
    else:
        assert status == 0
        assert errors.startswith("warning: trials.jsonl:1: skipped a damaged line: notes")
        assert errors.count("\n") == 1, json.dumps(note)
