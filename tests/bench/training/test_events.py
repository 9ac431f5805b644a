import io
import subprocess
import sys

import pytest

from bench.training import events
from tests.bench.conftest import ROOT, environment

EVENTS = [
    events.TrialFinished("digits/quick", 1, 3, 7, "missed", None, 2.5),
    events.RunRecorded("digits/quick", "runs/x", "finished"),
    events.Message("digits/quick", "a line\nof two — ünïcode"),
    events.Waiting(),
]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_one_line_that_is_read_back(event):
    line = events.encode(event)
    assert "\n" not in line
    assert events.decode(f"{line}\n") == ("", event)


@pytest.mark.parametrize("before", ["loading … ", '{"event": '])
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_counts_in_a_line_that_something_else_has_begun(event, before):
    assert events.decode(f"{before}{events.encode(event)}\n") == (before, event)


@pytest.mark.parametrize("line", ["", "text", "[]", "1", "{}", '{"event": "Other"}', '{"event": "Waiting", "more": 1}'])
def test_any_other_line_is_no_event(line):
    assert events.decode(line) == (line, None)


def test_a_trial_as_a_person_reads_it():
    trial = events.TrialFinished("digits/quick", 1, 3, 7, "missed", 0.9125, 2.5)
    assert str(trial) == "digits/quick: trial 1/3, seed 7: missed, 91.25%, 2.5 s so far"


def test_only_events_are_left_on_standard_output():
    program = (
        "import os, sys\nfrom bench.training import events\nprint('before')\nevents.send(events.Waiting())\n"
        "print('after')\nos.write(1, b'from C\\n')\nevents.send(events.Waiting())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines() == ["before", '{"event": "Waiting"}', '{"event": "Waiting"}']
    assert sorted(ended.stderr.splitlines()) == ["after", "from C"]


def test_without_the_launching_process_there_is_no_permission(monkeypatch):
    sent = []
    monkeypatch.setattr(events, "send", sent.append)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    events.wait_for_permission()
    with pytest.raises(ValueError, match="has ended"):
        events.wait_for_permission()
    assert sent == [events.Waiting()] * 2
