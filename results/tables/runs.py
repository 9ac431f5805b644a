"""The trials of a run, and runs one a row."""

from collections.abc import Iterable, Sequence

from results import format as form
from results.protocols import epoch_reaching, find_protocol, seconds_to_target, total_seconds
from results.record import Run, TrialRecord
from results.summary import RunSummary, summarize
from results.tables import throughput
from results.tables.table import SMOKE_TEST, Table, legend_of, legend_of_hosts, legend_of_looks, name_of, seed_of

SUMMARY = ("recipe", "trials", "accuracy %", "reached target", "p", "time to target s", "total s", "machine")
TRIALS = ("seed", "accuracy %", "outcome", "epochs to target", "time to target s", "total s")


def trials_table(run: Run, protocol: str) -> Table:
    """One row a trial. ValueError for an unknown protocol."""
    find_protocol(protocol)
    title = f"{run.record.recipe_name}, run {run.record.id}, {run.machine}"
    title += SMOKE_TEST * run.record.smoke_test
    if run.has_no_target:
        return throughput.trials_table(run, protocol, title)
    rows = tuple(trial_row(trial, protocol) for trial in run.trials)
    return Table(title, TRIALS, rows, legend_of([run]).strip())


def trial_row(trial: TrialRecord, protocol: str) -> tuple[str, ...]:
    """The cells of one trial. A total time is shown whether or not the trial reached the target."""
    return (
        seed_of(trial),
        form.percent(trial.accuracy),
        trial.ending,
        form.NOTHING if (last := epoch_reaching(trial)) is None else str(last),
        form.seconds(seconds_to_target(trial, protocol)),
        form.seconds(total_seconds(trial, protocol)),
    )


def summary_tables(runs: Iterable[Run], protocol: str) -> list[Table]:
    """One row a run: a table of the measurements and, if there are any, one of the smoke tests; runs without a target
    have tables of their own, on throughput.

    ValueError for an unknown protocol.
    """
    kinds: dict[tuple[bool, bool], list[Run]] = {}
    for run in runs:
        kinds.setdefault((run.has_no_target, run.record.smoke_test), []).append(run)
    tables: list[Table] = []
    for (has_no_target, smoke_test), of_kind in sorted(kinds.items(), key=lambda kind: kind[0]):
        suffix = SMOKE_TEST * smoke_test
        if has_no_target:
            tables += throughput.summary_tables(of_kind, protocol, f"throughput{suffix}")
        else:
            tables.append(_summary_table(of_kind, protocol, f"{protocol} time{suffix}"))
    return tables


def _summary_table(runs: Sequence[Run], protocol: str, title: str) -> Table:
    summaries = [summarize(run, protocol) for run in runs]
    over_hosts = legend_of_hosts(time for one in summaries for time in (one.time_to_target, one.total_time))
    caption = (
        "Accuracy: mean ± half of the 95% interval. p: one-sided t-test of the mean against the target. "
        f"Times: median [95% interval], or (range) of fewer than 6 trials{over_hosts}; {protocol} protocol."
    )
    rows = tuple(_summary_row(run, summary) for run, summary in zip(runs, summaries, strict=True))
    repeats = any(len({trial.seed for trial in run.trials}) < len(run.trials) for run in runs)
    of_seeds = " Accuracy, p and time to target: trials of one seed count as one." * repeats
    return Table(title, SUMMARY, rows, caption + of_seeds + legend_of_looks(runs) + legend_of(runs))


def _summary_row(run: Run, summary: RunSummary) -> tuple[str, ...]:
    return (
        name_of(run),
        form.count(len(run.trials), len(run.record.seeds)) if run.missing_seeds else str(len(run.trials)),
        summary.accuracy_text,
        f"{summary.reached_text} ({form.target(summary.target)})" if run.trials else form.NOTHING,
        form.p_value(summary.p),
        summary.time_to_target.text,
        summary.total_time.text,
        run.machine,
    )
