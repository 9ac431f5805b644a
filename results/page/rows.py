"""The rows of the page: runs that could be one run, such as those of a job array, are one row (`results.pools`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from results import pools
from results.record import Run
from results.samples import Samples


@dataclass(frozen=True)
class Row:
    """What the page lists: a run as it was read, or several as one."""

    run: Run
    members: tuple[Run, ...] = ()
    """the runs of a pool, the oldest first; empty for a run alone"""


def rows(runs: Sequence[Run], samples_of: Mapping[str, Samples]) -> list[Row]:
    """In the order of their newest run. `samples_of`: of each run by its id."""
    place = {run.record.id: number for number, run in enumerate(runs)}
    groups = sorted(pools.groups(runs, samples_of), key=lambda group: place[group[-1].record.id])
    return [Row(group[0]) if len(group) == 1 else Row(_named(group), tuple(group)) for group in groups]


def _named(group: Sequence[Run]) -> Run:
    """The runs as one, with an address of its own on the page and the date of the newest."""
    found = pools.merged(group)
    changes = {"id": f"pool-{group[0].record.id}", "created": group[-1].record.created}
    return replace(found, record=found.record.model_copy(update=changes))
