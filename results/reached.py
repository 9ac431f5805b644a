"""How many trials of a side of a comparison reached the target."""

from collections.abc import Sequence

from results import format as form
from results.samples import Samples, different_seeds


def reached(side: Sequence[Samples]) -> tuple[int, int]:
    """Trials that reached the target, of all."""
    return sum(one.reached for one in side), sum(len(one.seeds) for one in side)


def reached_by_seed(side: Sequence[Samples]) -> tuple[int, int]:
    """The same share of the different seeds, rounded to whole ones."""
    (count, trials), seeds = reached(side), different_seeds(side)
    return (count, trials) if seeds == trials else (round(count * seeds / trials), seeds)


def all_reached(side: Sequence[Samples]) -> bool:
    """Whether every trial did."""
    count, trials = reached(side)
    return count == trials


def reached_less(old: Sequence[Samples], new: Sequence[Samples], level: float) -> str:
    """Says that significantly fewer of the new trials reach the target (Fisher's exact test, one-sided), if so.

    Times of those that did cannot show it: the slow trials are missing from them.
    """
    from scipy import stats

    if any(one.published for one in (*old, *new)):
        return ""
    sides = (reached_by_seed(side) for side in (old, new))
    table = [[count, seeds - count] for count, seeds in sides]
    p = float(stats.fisher_exact(table, alternative="greater").pvalue)
    before, after = reached(old), reached(new)
    counts = f"{form.count(*after)} trials reached the target, before {form.count(*before)}"
    return f"{counts} (p = {form.p_value(p)})" if p <= level else ""


def none_finished(side: Sequence[Samples]) -> bool:
    """Whether every trial diverged or failed."""
    _, trials = reached(side)
    return trials > 0 and sum(one.unfinished for one in side) == trials
