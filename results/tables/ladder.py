"""The table of a ladder: what each step's change brought, beside the published figures."""

from collections.abc import Sequence
from itertools import pairwise

from results import format as form
from results.literature import published
from results.record import Run
from results.summary import RunSummary, summarize
from results.tables.table import Table, legend_of, legend_of_hosts, name_of

METRICS = ("time", "epoch-time")


def ladder_table(runs: Sequence[Run], protocol: str) -> Table:
    """One row a step, in the order given, the slowest first. ValueError for an unknown protocol."""
    headers = (
        "step",
        "change",
        "epochs",
        "accuracy %",
        "reached",
        "total s",
        "gain",
        "s per epoch",
        "gain",
        "published %",
        "published s",
        "commit",
    )
    summaries = [summarize(run, protocol, METRICS) for run in runs]
    totals, epochs = (values(summaries, name) for name in METRICS)
    conditions = [(limit(run), run.machine) for run in runs]
    rows = tuple(
        (
            name_of(run),
            run.change or form.NOTHING,
            form.NOTHING if run.epochs is None else f"{run.epochs:g}",
            *accuracy_cells(run, summary),
            form.seconds(total),
            gain,
            epoch_cell(run, epoch),
            epoch_gain,
            *published_cells(run.record.recipe_name),
            (run.record.commit or form.NOTHING)[:7],
        )
        for run, summary, total, gain, epoch, epoch_gain in zip(
            runs, summaries, totals, gains(totals, conditions), epochs, gains(epochs, conditions), strict=True
        )
    )
    over_hosts = legend_of_hosts(one.figures[name] for one in summaries for name in METRICS)
    caption = (
        f"Times: median{over_hosts}. Total s: {protocol} protocol. S per epoch: mean over all image sizes. "
        "Gain: change from the step above, if both used as many images and the same class of machine; not tested for "
        "significance. "
        "Published: on other hardware (results/published). "
        "Steps trained on part of the images (data.limit) show how many, and no accuracy."
    )
    return Table("ladder", headers, rows, caption + legend_of(runs))


def values(summaries: Sequence[RunSummary], metric: str) -> list[float | None]:
    """The figure of each run."""
    return [summary.figures[metric].value for summary in summaries]


def gains(values: Sequence[float | None], conditions: Sequence[object]) -> list[str]:
    """The change of each value against the one before it, in percent, where both were measured under the same
    conditions."""
    pairs = zip(pairwise(values), pairwise(conditions), strict=True)
    changes = [
        form.NOTHING if before is None or after is None or then != now else form.change(after / before)
        for (before, after), (then, now) in pairs
    ]
    return [form.NOTHING, *changes]


def accuracy_cells(run: Run, summary: RunSummary) -> tuple[str, str]:
    """Accuracy and reached trials; dashes for a run on part of the images, which measures time alone."""
    if limit(run) is not None:
        return form.NOTHING, form.NOTHING
    return summary.accuracy_text, summary.reached_text


def epoch_cell(run: Run, seconds: float | None) -> str:
    """Seconds of an epoch, with its images where those are not the whole data set."""
    images = limit(run)
    return form.seconds(seconds) if images is None else f"{form.seconds(seconds)} ({images:,} images)"


def limit(run: Run) -> int | None:
    """Images of the data set that it was trained on at most; None: all."""
    return run.options.data.limit


def published_cells(recipe_name: str) -> tuple[str, str]:
    """Accuracy, and time with the hardware it was measured on."""
    figure = published().get(recipe_name)
    if figure is None:
        return form.NOTHING, form.NOTHING
    seconds = form.NOTHING if figure.seconds is None else f"{figure.seconds:g} ({figure.hardware})"
    return form.published(None if figure.accuracy is None else 100 * figure.accuracy), seconds
