"""Whether the trials of a run saw the same machine, by their times alone."""

from collections.abc import Sequence

from results import format as form
from results.record import Run
from results.statistics import trend

TENFOLD = 10
"""times the shortest training of a run: a machine on which another trial takes so long was not the same"""
DRIFT = 0.05
"""change from the first trial to the last from which a trend is worth a line"""
DRIFT_LEVEL = 0.001
"""p at or under which it is one: of a thousand runs without a trend, one has such a p"""


def stability_warnings(run: Run) -> list[str]:
    """A line for each sign that the machine was not the same for all trials of the run."""
    return [*filter(None, (spread_warning(run), drift_warning(run)))]


def spread_warning(run: Run) -> str:
    """Of a run whose trials trained for times that differ tenfold, with the likely cause; empty for any other."""
    seconds = [time for trial in run.trials if (time := trial.seconds("train"))]
    if not seconds or max(seconds) < TENFOLD * min(seconds):
        return ""
    is_cold = seconds[0] == max(seconds) and not run.trials[0].seconds("compile")
    cause = (
        "the first trial had no warm-up: add a function warm_up to the file"
        if is_cold and run.options.clock == "author"
        else "the machine changed between trials"
    )
    times = f"one trial trained for {min(seconds):.3g} s and another for {max(seconds):.3g} s"
    return f"{run.record.recipe_name}: {times}: {cause}"


def drift_warning(run: Run) -> str:
    """Of a run whose trials became slower or faster one after the other; empty for any other, and for several hosts.

    A step counts, not a trial, because some trials end early.
    """
    if len({trial.host.hash for trial in run.trials if trial.host}) > 1:
        return ""
    trials = [trial for trial in run.trials if trial.seconds("train")]
    text = drift([trial.seconds("train") / max(trial.steps, 1) for trial in trials])
    return f"{run.record.recipe_name}: trials became {text}: the machine changed during the run" if text else ""


def drift(times: Sequence[float]) -> str:
    """What times in the order of their trials say, such as "37% slower from the first to the last (p = 2e-05)"; empty
    without a trend."""
    found = trend(times)
    if found is None or not found.significant(DRIFT_LEVEL) or abs(change := found.size - found.none) < DRIFT:
        return ""
    word = "slower" if change > 0 else "faster"
    return f"{abs(change):.0%} {word} from the first to the last (p = {form.p_value(found.p)})"
