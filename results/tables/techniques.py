"""The table of techniques: what each brought over the baseline, and over the baseline with tuned optimizer options."""

from collections.abc import Sequence
from dataclasses import replace

from results import format as form
from results.record import Run
from results.samples import plans
from results.sequential import p_over_looks
from results.statistics import Change, adjust_for_many, difference_of_means
from results.step_times import epochs_done
from results.summary import summarize, time_to_accuracy
from results.tables.table import Table, legend_of, legend_of_hosts, legend_of_looks, name_of

BASELINES = ("base", "base-tuned")
THRESHOLDS = (0.97, 0.98)


def baselines(runs: Sequence[Run]) -> dict[str, Run]:
    """The runs that the others are compared with, by the last part of their recipe's name."""
    by_name = {run.record.recipe_name.rpartition("/")[2]: run for run in runs if not run.record.smoke_test}
    return {name: by_name[name] for name in BASELINES if name in by_name}


def techniques_table(runs: Sequence[Run], protocol: str) -> Table:
    """One row a run, in the order given. ValueError for an unknown protocol, or where there is no baseline."""
    against = baselines(runs)
    if not against:
        raise ValueError(f"no run is of a recipe called {' or '.join(BASELINES)} to compare the others with")
    headers = (
        "recipe",
        "technique",
        "labels",
        "accuracy %",
        *(f"over {name}, p" for name in against),
        "total s",
        *(f"s to {form.target(threshold)}" for threshold in THRESHOLDS),
    )
    over = [differences(runs, base, protocol) for base in against.values()]
    rows = []
    summaries = [summarize(run, protocol) for run in runs]
    for run, summary, *found in zip(runs, summaries, *over, strict=True):
        rows.append(
            (
                name_of(run),
                run.change or "the baseline",
                epoch_labels(run),
                summary.accuracy_text,
                *found,
                form.seconds(summary.total_time.value),
                *(time_to(run, threshold, protocol) for threshold in THRESHOLDS),
            )
        )
    caption = (
        "Accuracy: mean ± half of the 95% interval. Over: difference in percentage points, and p of Welch's t-test, "
        f"adjusted for the {len(runs) - 1} comparisons of its column (Benjamini-Hochberg). "
        f"Times: median{legend_of_hosts((one.total_time for one in summaries), 'total s ')}, {protocol} protocol."
    )
    return Table("techniques", headers, tuple(rows), caption + legend_of_looks(runs) + legend_of(runs))


def differences(runs: Sequence[Run], base: Run, protocol: str) -> list[str]:
    """Of each run: the difference of the mean accuracies in percentage points, and its p adjusted for all of them."""
    changes = [difference(run, base, protocol) for run in runs]
    adjusted = adjust_for_many([change and change.p for change in changes])
    return [
        form.NOTHING if change is None else form.points(change.size) + ("" if p is None else f", {form.p_value(p)}")
        for change, p in zip(changes, adjusted, strict=True)
    ]


def difference(run: Run, base: Run, protocol: str) -> Change | None:
    """Of the samples of the accuracy; where looks ended the training of a side, with p over all looks. None of the base
    itself, and where a side has none."""
    before, after = (summarize(one, protocol).accuracy.samples for one in (base, run))
    if run is base or not before or not after:
        return None
    found = difference_of_means(before, after)
    planned = plans([base, run])
    return found if found.p is None else replace(found, p=p_over_looks(found.p, planned))


def time_to(run: Run, threshold: float, protocol: str) -> str:
    """The median, and k of n where not all trials reached it."""
    figure = time_to_accuracy(run, threshold, protocol)
    return form.seconds(figure.value) + figure.missing


def epoch_labels(run: Run) -> str:
    """Labelled images in an epoch."""
    first = next(iter(run.trials), None)
    epochs = first and epochs_done(run, first)
    if first is None or epochs is None or first.outcome == "diverged":
        return form.NOTHING
    return f"{round(first.samples / epochs):,}"
