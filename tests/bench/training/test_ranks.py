"""How one of several processes leaves them."""

import pytest

from bench.training import ranks
from pipelines.distributed.process_group import World


@pytest.fixture
def printed(monkeypatch, capsys):
    """What this process, one of two, had printed when it told the others that it has printed its error."""
    found = []
    monkeypatch.setattr(ranks.process_group, "join", lambda device, timeout: World(size=2))
    monkeypatch.setattr(ranks.process_group, "leave", lambda: None)
    monkeypatch.setattr(ranks.failures, "wait_for_report_of_main", lambda world: found.append(capsys.readouterr().err))
    return found


@pytest.mark.parametrize("error", [ValueError("no data"), OSError("no data")])
def test_an_error_is_printed_before_another_process_may_end(printed, error):
    with pytest.raises(SystemExit) as ended, ranks.joined("cpu", None):
        raise error
    assert (ended.value.code, printed) == (2, ["bench/run.py: error: no data\n"])


def test_a_fault_of_ours_is_raised(printed):
    with pytest.raises(ZeroDivisionError), ranks.joined("cpu", None):
        raise ZeroDivisionError
    assert printed == []
