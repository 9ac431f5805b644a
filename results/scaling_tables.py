"""The tables of a recipe's scaling."""

from collections.abc import Iterable
from dataclasses import replace
from statistics import median

from results.literature import scaling_anchors
from results.protocols import find_protocol
from results.record import Run
from results.scaling import Curves, Efficiency, Point, curves, efficiency
from results.tables import NOTHING, SAMPLE, Table

PREDICTED = (8, 16, 32, 64, 128, 256, 512, 1024)
"""processes of a cluster on paper"""


def scaling_tables(runs: Iterable[Run], protocol: str) -> list[Table]:
    """Weak and strong scaling, time to the target, the exchange and the prediction, of every recipe that has runs in
    worlds of several sizes, and what others report. ValueError for an unknown protocol."""
    found = curves(runs)
    tables = [
        replace(table, title=table.title + SAMPLE * each.base.runs[0].record.sample)
        for each in found
        for table in (strong(each), weak(each), to_target(each, protocol), exchange(each), prediction(each))
        if table.rows
    ]
    return [*tables, anchors()] if found else []


def anchors() -> Table:
    """What others report."""
    headers = ("training", "hardware", "processes", "what", "efficiency")
    rows = tuple(
        (a.training, a.hardware, f"{a.base} → {a.processes}", a.what, f"{100 * a.efficiency:g}%")
        for a in scaling_anchors()
    )
    caption = "Efficiency of what was added to the first number. Sources: results/published/scaling/anchors.yaml"
    return Table("published scaling, on other machines", headers, rows, caption)


def strong(scaling: Curves) -> Table:
    """The whole batch is fixed."""
    headers = ("processes", "images a process", "ms a step", "images/s", "speed-up", "efficiency")
    base = scaling.base
    rows = tuple(
        (
            str(point.processes),
            f"{point.batch_size / point.processes:g}",
            milliseconds(point.step),
            f"{point.images_per_second:,.0f}",
            f"{base.step / point.step:.2f}",
            percent(efficiency(base, point, lambda one: one.step_seconds)),
        )
        for point in scaling.strong
    )
    caption = (
        "Medians over the trials, of augmentation and training. Efficiency: the speed-up over that of the processes, "
        f"[95% interval]. {threads_of(base)}"
    )
    return Table(f"{scaling.recipe_name}: strong scaling, {base.batch_size} images a step", headers, rows, caption)


def weak(scaling: Curves) -> Table:
    """The batch of each process is fixed."""
    headers = ("processes", "images a step", "ms a step", "images/s", "efficiency")
    base = scaling.base
    rows = tuple(
        (
            str(point.processes),
            str(point.batch_size),
            milliseconds(point.step),
            f"{point.images_per_second:,.0f}",
            percent(efficiency(base, point, lambda one: one.step_seconds, point.batch_size / base.batch_size)),
        )
        for point in scaling.weak
    )
    share = base.batch_size // base.processes
    caption = f"As above. Efficiency: images/s over those of so many times the {base.processes} at the top."
    title = f"{scaling.recipe_name}: weak scaling, {share} images a process and step"
    return Table(title, headers, rows if len(rows) > 1 else (), caption)


def to_target(scaling: Curves, protocol: str) -> Table:
    """Seconds until the target is reached, by both ways to use more processes."""
    headers = ("processes", "images a step", "reached", "epochs to target", "time to target s", "efficiency")
    meaning = find_protocol(protocol).meaning
    points = sorted([*scaling.strong, *scaling.weak[1:]], key=lambda point: (point.processes, point.batch_size))
    rows = tuple(
        (
            str(point.processes),
            str(point.batch_size),
            f"{len(point.reached)} of {len(point.trials)}",
            NOTHING if point.epochs_to_target is None else f"{point.epochs_to_target:g}",
            seconds_of(point, protocol),
            percent(efficiency(scaling.base, point, lambda one: one.to_target(protocol))),
        )
        for point in points
    )
    caption = (
        "Medians over the trials that reached the target, to the first epoch at or over it. A larger batch has its "
        f"learning rate scaled as the recipe says. {protocol} time: {meaning}"
    )
    return Table(f"{scaling.recipe_name}: time to target", headers, rows, caption)


def exchange(scaling: Curves) -> Table:
    """What part the exchange of gradients has in a step, measured and by the model of the link."""
    headers = (
        "processes",
        "gradients MB a step",
        "ms a step",
        "without exchange",
        "its share",
        "model of it ms",
    )
    size, link = scaling.gradient_bytes, scaling.link
    with_exchange = {point.processes: point for point in scaling.strong}
    rows = tuple(
        (
            str(point.processes),
            NOTHING if size is None else f"{size / 1e6:.3g}",
            milliseconds(with_exchange[point.processes].step),
            milliseconds(point.step),
            f"{100 * (1 - point.step / with_exchange[point.processes].step):.0f}%",
            NOTHING if size is None or link is None else milliseconds(link.all_reduce(point.processes, size)),
        )
        for point in scaling.alone
        if point.processes in with_exchange
    )
    caption = (
        "Without exchange: the same recipe, each process on its own. The share is what the exchange adds to a step; "
        "what of it passes while gradients are still computed does not show. The model is a ring whose link was fitted "
        "to all-reduces that the same runs measured while they did nothing else."
    )
    return Table(f"{scaling.recipe_name}: the exchange of gradients", headers, rows, caption)


def prediction(scaling: Curves) -> Table:
    """The weak curve of a cluster, on paper."""
    headers = ("processes", "all-reduce ms", "efficiency if hidden", "efficiency if not hidden")
    size, link, base = scaling.gradient_bytes, scaling.link, scaling.base
    title = f"{scaling.recipe_name}: a prediction of weak scaling, nothing of it measured"
    if size is None or link is None or base.processes > 1:
        return Table(title, headers, ())
    exchanges = [(processes, link.all_reduce(processes, size)) for processes in PREDICTED]
    rows = tuple(
        (
            str(processes),
            milliseconds(seconds),
            f"{100 * base.step / max(base.step, seconds):.0f}%",
            f"{100 * base.step / (base.step + seconds):.0f}%",
        )
        for processes, seconds in exchanges
    )
    bandwidth = f"{1e-9 / link.seconds_per_byte:.3g} GB/s" if link.seconds_per_byte else "no bound"
    computing = f"{milliseconds(base.step)} ms of computing a step ({base.batch_size} images a process, as measured)"
    caption = (
        f"Put in: {computing}, {size / 1e6:.3g} MB of gradients, a ring of links of {1e6 * link.latency:.3g} "
        f"microseconds and {bandwidth} (fitted to the all-reduces measured here). Hidden: all of the exchange passes "
        "while gradients are computed. Real clusters have several kinds of links, and wait for the slowest process."
    )
    return Table(title, headers, rows, caption)


def threads_of(point: Point) -> str:
    """How many CPU threads each process had, where that is what computes."""
    environment = point.runs[0].record.environment
    threads = environment.get("threads")
    if not isinstance(threads, dict) or environment.get("device") != "cpu":
        return ""
    return f"CPU threads of each process: {threads['intra_op']}."


def milliseconds(seconds: float) -> str:
    """To three digits."""
    return f"{1000 * seconds:.3g}"


def seconds_of(point: Point, protocol: str) -> str:
    """The median time to target; "missed" where there are trials and none has one."""
    seconds = point.to_target(protocol)
    if not seconds:
        return "missed" if point.trials and not point.reached else NOTHING
    return f"{median(seconds):.3f}"


def percent(share: Efficiency | None) -> str:
    """An efficiency and its interval."""
    if share is None:
        return NOTHING
    bounds = "" if share.interval is None else f" [{100 * share.interval[0]:.0f}, {100 * share.interval[1]:.0f}]"
    return f"{100 * share.value:.0f}%{bounds}"
