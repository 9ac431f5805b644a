"""The tables of a recipe's scaling."""

from collections.abc import Iterable
from dataclasses import replace

from results import format as form
from results import marks
from results.literature import scaling_anchors
from results.protocols import find_protocol
from results.record import Run
from results.scaling import Curves, Efficiency, Point, curves, efficiency
from results.tables.table import SMOKE_TEST, Table

PREDICTED = (8, 16, 32, 64, 128, 256, 512, 1024)
"""processes of the cluster that is predicted"""


def scaling_tables(runs: Iterable[Run], protocol: str) -> list[Table]:
    """Strong and weak scaling, time to target, gradient all-reduce and prediction of every recipe that has runs with
    several numbers of processes, then published figures. ValueError for an unknown protocol."""
    find_protocol(protocol)
    found = curves(runs)
    tables = [table for each in found for table in tables_of(each, protocol)]
    return [*tables, anchors()] if found else []


def tables_of(scaling: Curves, protocol: str) -> list[Table]:
    """The tables of one recipe that have rows."""
    of_points = (strong(scaling), weak(scaling), to_target(scaling, protocol), all_reduce(scaling))
    marked = [replace(table, caption=table.caption + legend(scaling)) for table in of_points]
    suffix = SMOKE_TEST * scaling.base.runs[0].record.smoke_test
    return [replace(table, title=table.title + suffix) for table in (*marked, prediction(scaling)) if table.rows]


def anchors() -> Table:
    """Published figures."""
    headers = ("training", "hardware", "processes", "what", "efficiency")
    rows = tuple(
        (a.training, a.hardware, f"{a.base} → {a.processes}", a.what, f"{100 * a.efficiency:g}%")
        for a in scaling_anchors()
    )
    caption = "Efficiency: relative to the first number of processes. Sources: results/published/scaling/anchors.yaml."
    return Table("published scaling, on other machines", headers, rows, caption)


def strong(scaling: Curves) -> Table:
    """The whole batch is fixed."""
    base, unit, rows = scaling.base, scaling.unit, []
    headers = ("processes", f"{unit.sample} per process", "ms per step", unit.rate, "speed-up", "efficiency")
    for point in scaling.strong:
        found = efficiency(base, point, lambda one: one.step_seconds)
        rows.append(
            (
                processes_of(point),
                f"{point.batch_size / point.processes:g}",
                form.milliseconds(point.step),
                form.number(point.per_second),
                form.NOTHING if found is None else f"{found.speed_up:.2f}",
                percent(found),
            )
        )
    efficiency_is = "Efficiency: speed-up divided by the ratio of processes [95% interval]."
    caption = f"Medians. {efficiency_is} {threads_of(base)}".rstrip()
    title = f"{scaling.recipe_name}: strong scaling, {base.batch_size} {unit.sample} per step"
    return Table(title, headers, tuple(rows), caption)


def weak(scaling: Curves) -> Table:
    """The batch of each process is fixed."""
    base, unit = scaling.base, scaling.unit
    headers = ("processes", f"{unit.sample} per step", "ms per step", unit.rate, "efficiency")
    rows = tuple(
        (
            processes_of(point),
            str(point.batch_size),
            form.milliseconds(point.step),
            form.number(point.per_second),
            percent(efficiency(base, point, lambda one: one.step_seconds, point.batch_size / base.batch_size)),
        )
        for point in scaling.weak
    )
    share = base.batch_size // base.processes
    caption = f"Medians. Efficiency: {unit.rate} per process, relative to the first row [95% interval]."
    title = f"{scaling.recipe_name}: weak scaling, {share} {unit.sample} per process and step"
    return Table(title, headers, rows if len(rows) > 1 else (), caption)


def to_target(scaling: Curves, protocol: str) -> Table:
    """Time to target, with both ways to use more processes."""
    headers = (
        "processes",
        f"{scaling.unit.sample} per step",
        "reached",
        "epochs to target",
        "time to target s",
        "efficiency",
    )
    points = sorted([*scaling.strong, *scaling.weak[1:]], key=lambda point: (point.processes, point.batch_size))
    rows = tuple(
        (
            processes_of(point),
            str(point.batch_size),
            form.count(len(point.reached), len(point.trials)),
            form.NOTHING if point.epochs_to_target is None else f"{point.epochs_to_target:g}",
            form.seconds(point.time_to_target(protocol).value),
            percent(efficiency(scaling.base, point, lambda one: one.time_to_target(protocol).samples)),
        )
        for point in points
    )
    caption = f"Medians over the trials that reached the target; {protocol} protocol."
    rows = () if scaling.base.runs[0].has_no_target else rows
    return Table(f"{scaling.recipe_name}: time to target", headers, rows, caption)


def all_reduce(scaling: Curves) -> Table:
    """The part of the gradient all-reduce in a step, measured and by the model of the connection."""
    headers = ("processes", "gradients MB per step", "ms per step", "without all-reduce", "its share", "modelled ms")
    size, link = scaling.gradient_bytes, scaling.link
    synchronised = {point.processes: point for point in scaling.strong}
    rows = tuple(
        (
            processes_of(point),
            form.number(None if size is None else size / 1e6, 3),
            form.milliseconds(synchronised[point.processes].step),
            form.milliseconds(point.step),
            form.share(1 - point.step / synchronised[point.processes].step),
            form.milliseconds(None if size is None or link is None else link.all_reduce(point.processes, size)),
        )
        for point in scaling.unsynchronised
        if point.processes in synchronised
    )
    caption = (
        "Without all-reduce: parallel.sync_gradients=false. Its share: the part that the backward pass does not hide. "
        "Modelled: a ring, fitted to all-reduces that were timed alone."
    )
    return Table(f"{scaling.recipe_name}: gradient all-reduce", headers, rows, caption)


def prediction(scaling: Curves) -> Table:
    """Weak scaling of a cluster, by the model alone."""
    headers = ("processes", "all-reduce ms", "efficiency if overlapped", "efficiency if not")
    size, link, base = scaling.gradient_bytes, scaling.link, scaling.base
    title = f"{scaling.recipe_name}: predicted weak scaling, not measured"
    if size is None or link is None or base.processes > 1:
        return Table(title, headers, ())
    rows = tuple(
        (
            str(processes),
            form.milliseconds(seconds),
            form.share(base.step / max(base.step, seconds)),
            form.share(base.step / (base.step + seconds)),
        )
        for processes, seconds in ((processes, link.all_reduce(processes, size)) for processes in PREDICTED)
    )
    bandwidth = f"{form.number(1e-9 / link.seconds_per_byte, 3)} GB/s" if link.seconds_per_byte else "no bound"
    caption = (
        f"Model: {form.milliseconds(base.step)} ms of computation, {form.number(size / 1e6, 3)} MB of gradients, "
        f"ring with a latency of {form.number(1e6 * link.latency, 3)} µs and {bandwidth}."
    )
    return Table(title, headers, rows, caption)


def processes_of(point: Point) -> str:
    """How many, with the symbols of the marks that a trial has."""
    return str(point.processes) + marks.symbols(marks.counts(point.trials))


def legend(scaling: Curves) -> str:
    """What the symbols of `processes_of` mean."""
    points = (*scaling.strong, *scaling.weak, *scaling.unsynchronised)
    return marks.legend(marks.counts(trial for point in points for trial in point.trials))


def threads_of(point: Point) -> str:
    """How many CPU threads each process had, where the CPU computes."""
    environment = point.runs[0].record.environment
    if environment.threads is None or environment.device != "cpu":
        return ""
    return f"CPU threads of each process: {environment.threads.intra_op}."


def percent(share: Efficiency | None) -> str:
    """An efficiency and its interval."""
    if share is None:
        return form.NOTHING
    bounds = "" if share.interval is None else f" [{form.share(share.interval[0])}, {form.share(share.interval[1])}]"
    return form.share(share.value) + bounds
