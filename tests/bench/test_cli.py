"""Whatever the command, a command line that makes no sense is one line on stderr and status 2."""

import importlib

import pytest

COMMANDS = ("compare", "data", "doctor", "exchange", "gate", "measured_tables", "query", "report", "search")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_one_line(name, capsys):
    main = importlib.import_module(f"bench.{name}").main
    with pytest.raises(SystemExit) as leaving:
        main(["a", "b", "--no-such-option"])
    assert leaving.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"bench/{name}.py: error: ")
    assert said.endswith("; see --help\n")
    assert said.count("\n") == 1
