"""The samples of a comparison: trials, pairs of them, hosts or seeds, and the level at which they are judged.

The samples are the trials. Of times over several hosts they are the hosts, because trials of one host are not
independent of each other: pairs where both sides have the same hosts. Interleaved trials of one host stay pairs. Of
accuracies and times to target over several runs they are the seeds (`Metric.by_seed`).

Runs that were trained until decided are judged at the level of the look at which they ended (`results.sequential`):
also against other runs and together with them, where the smallest of several levels counts. Between two looks nothing
is decided, because a verdict there would be one more look.
"""

from dataclasses import dataclass
from functools import cached_property
from statistics import geometric_mean

from results.metrics import ACCURACY, Metric
from results.samples import Samples, different_seeds, plans
from results.sequential import Look, Planned, level_of, look_at
from results.statistics import fewest_trials
from results.summary import by_seed, figure


@dataclass(frozen=True)
class Cell:
    """What a row is made from."""

    recipe: str
    metric: Metric
    before: list[Samples]
    after: list[Samples]
    together: Planned | None = None
    """the plan of all these runs together, and the trials a side that there are, where several runs follow one plan"""

    @cached_property
    def neighbours(self) -> tuple[list[float], list[float]] | None:
        """Values of trials that one host trained one after the other, if all trials of all runs did two by two."""
        by_id = [{one.interleaved: one for one in side} for side in (self.before, self.after)]
        has_two_of_one = len(by_id[0]) < len(self.before) or len(by_id[1]) < len(self.after)
        if None in by_id[0] or by_id[0].keys() != by_id[1].keys() or has_two_of_one:
            return None
        pairs = []
        for shared, one in by_id[0].items():
            other = by_id[1][shared]
            if not _alternated(one, other):
                return None
            later = {seed: (value, host) for seed, value, host in other.trials(self.metric.name)}
            for seed, value, host in one.trials(self.metric.name):
                value_of_other, host_of_other = later.get(seed, (None, host))
                if host != host_of_other:
                    return None
                pairs.append((seed, value, value_of_other))
        both = [(seed, a, b) for seed, a, b in pairs if a is not None and b is not None]
        if not both:
            return None
        before, after = [(seed, a) for seed, a, _ in both], [(seed, b) for seed, _, b in both]
        return by_seed(self.metric, before), by_seed(self.metric, after)

    @cached_property
    def by_host(self) -> tuple[dict[str, float], dict[str, float]] | None:
        """Each side's time on each host, as the geometric mean of its trials, where the samples are the hosts.

        They are where a side has several, unless neighbours are compared. None where a host is not known.
        """
        if not self.metric.is_timed or self.neighbours:
            return None
        sides: list[dict[str, list[float]]] = [{}, {}]
        for side, found in zip((self.before, self.after), sides, strict=True):
            for _, value, host in (trial for one in side for trial in one.trials(self.metric.name)):
                if value is not None and host is None:
                    return None
                if value is not None and host is not None:
                    found.setdefault(host, []).append(value)
        if max(map(len, sides)) < 2:
            return None
        before, after = ({host: geometric_mean(values) for host, values in side.items()} for side in sides)
        return before, after

    @property
    def pairs(self) -> tuple[list[float], list[float]] | None:
        """What is compared two by two: neighbours, or both sides' times on the same hosts."""
        if self.by_host and self.by_host[0].keys() == self.by_host[1].keys():
            before, after = self.by_host
            return list(before.values()), [after[host] for host in before]
        return self.neighbours

    @cached_property
    def planned(self) -> set[Planned]:
        """The looks and the trials of runs that were trained until decided."""
        return plans((*self.before, *self.after)) | ({self.together} if self.together else set())

    @cached_property
    def looks(self) -> list[Look | None]:
        """Those at which these runs stopped; None for one that stopped between two looks."""
        return [look_at(*one) for one in self.planned]

    def level(self, alpha: float) -> float:
        """The p at or under which a change is significant, where a false one may have the probability `alpha`."""
        return level_of(self.planned, alpha)

    @cached_property
    def trained_the_same(self) -> bool:
        """Whether every seed ended with one accuracy on both sides: a deterministic training that has not changed."""
        sides = (self.before, self.after)
        before, after = ({trial[:2] for one in side for trial in one.trials(ACCURACY.name)} for side in sides)
        return (
            self.metric is ACCURACY
            and before == after
            and fewest_trials() <= len(before) == different_seeds(self.before)
        )

    @property
    def values(self) -> tuple[list[float], list[float]]:
        """The samples of both sides: trials, or hosts."""
        if self.by_host:
            before, after = (list(side.values()) for side in self.by_host)
        else:
            before, after = ([*figure(self.metric, side).samples] for side in (self.before, self.after))
        return before, after


def _alternated(one: Samples, other: Samples) -> bool:
    """Whether no trial of the two runs came between two of one seed. Taken as true of records without times."""
    if len(one.started) != len(one.seeds) or len(other.started) != len(other.seeds):
        return True
    if None in one.started or None in other.started:
        return True
    order = sorted([(at, seed) for run in (one, other) for at, seed in zip(run.started, run.seeds, strict=True)])
    last = {seed: place for place, (_, seed) in enumerate(order)}
    first = {seed: place for place, (_, seed) in reversed(list(enumerate(order)))}
    return all(last[seed] - first[seed] == 1 for seed in set(one.seeds) & set(other.seeds))
