"""The table of the hosts of a run: how fast each was beside the others."""

from results import format as form
from results import marks
from results.metrics import TOTAL_TIME
from results.record import Run
from results.slow_hosts import HostTimes, compare_hosts
from results.statistics import LEVEL, median_summary
from results.summary import summarize
from results.tables.comparison import change
from results.tables.table import Table, legend_of, legend_of_looks

UUID = 8
"""characters of a GPU's UUID"""


def hosts_table(run: Run, protocol: str) -> Table | None:
    """One row a host, the slowest first; None of a run whose trials are not from several hosts.

    ValueError for an unknown protocol.
    """
    hosts = compare_hosts(run, protocol)
    if not hosts:
        return None
    gpus = ("GPUs",) if any(one.host.gpus for one in hosts) else ()
    headers = ("host", *gpus, "trials", "total s", "over the other hosts", "difference")
    cells = tuple(tuple(row[header] for header in headers) for row in map(_row, hosts))
    title = f"{run.record.recipe_name}, {run.machine}: hosts"
    caption = " ".join(_sentences(run, protocol, hosts))
    return Table(title, headers, cells, caption + legend_of_looks([run]) + legend_of([run]))


def _row(one: HostTimes) -> dict[str, str]:
    trials, timed = len(one.trials), len(one.times)
    return {
        "host": one.host.hash + marks.symbols(marks.counts(one.trials)),
        "GPUs": " ".join(uuid[:UUID] for uuid in one.host.gpus) or form.NOTHING,
        "trials": str(trials) if timed == trials else form.count(timed, trials),
        "total s": form.median(median_summary(one.times, level=one.level) if one.times else None),
        "over the other hosts": change(one.change, TOTAL_TIME),
        "difference": one.difference or form.NOTHING,
    }


def _sentences(run: Run, protocol: str, hosts: list[HostTimes]) -> list[str]:
    """The caption."""
    total = summarize(run, protocol).total_time
    found = [
        f"Total s: median, {protocol} protocol. Over the other hosts: estimate [95% interval], p adjusted for "
        f"{len(hosts)} hosts (Benjamini-Hochberg). slower, faster: p up to {LEVEL:g}, and at least "
        f"{TOTAL_TIME.test.write_limit(TOTAL_TIME.limit)}; of equal hosts, at most {LEVEL:.0%} of tables name one."
    ]
    if any(one.host.gpus for one in hosts):
        found.append(f"GPUs: the first {UUID} characters of their UUIDs.")
    if total.hosts:
        found.append(f"{total.hosts.text}.")
        if not total.hosts.are_alike:
            found.append(f"No total time: {total.absent}.")
    if without := len(run.trials) - sum(len(one.trials) for one in hosts):
        found.append(f"Trials whose host is not known: {without}.")
    return found
