"""The looks at two interleaved runs: whether their comparison is decided, so that training may stop."""

from collections.abc import Collection
from pathlib import Path

from bench.training.events import Message
from bench.training.live_view import TrialLines
from pipelines.distributed.process_group import World
from results import store
from results.compare import Comparison, compare
from results.record import Plan
from results.samples import of_run
from results.sequential import look_at
from results.store import RunDirectory


class Looks:
    """Looks where the plan says so. The main process judges, and all others stop or go on with it."""

    def __init__(self, plan: Plan, protocol: str, across: Collection[str], world: World, view: TrialLines) -> None:
        self._plan, self._protocol, self._across = plan, protocol, across
        self._world, self._view = world, view
        self._paths: list[Path] = []
        self._over: dict[int, bool] = {}

    def opened(self, directory: RunDirectory | None) -> None:
        """A run has a directory, on the main process."""
        if directory:
            self._paths.append(directory.path)

    def is_over(self, trials: int) -> bool:
        """Whether the comparison is decided, where each run has so many trials. Between two looks it never is, and the
        last look is the end anyway."""
        if trials not in self._plan.looks[:-1]:
            return False
        if trials not in self._over:
            decided = self._world.run_on_all(lambda: self._world.is_main and self._judge(trials))
            self._over[trials] = self._world.broadcast_object(decided)
        return self._over[trials]

    def _judge(self, trials: int) -> bool:
        """Show the verdicts. False where a resumed run is past this look, which was undecided then."""
        before, after = map(store.read, self._paths)
        if (len(before.trials), len(after.trials)) != (trials, trials):
            return False
        limits = self._plan.limits
        sides = [[of_run(run, self._protocol, limits)] for run in (before, after)]
        rows = [row for row in compare(*sides, limits, self._across) if not limits or row.metric.name in limits]
        is_over = not any(map(_is_open, rows))
        verdicts = ", ".join(f"{row.metric.name} {row.verdict}" for row in rows)
        text = f"{look_at(self._plan.looks, trials)}: {verdicts}{'; training ends' * is_over}"
        self._view.show(Message(rows[0].recipe, text))
        return is_over


def _is_open(row: Comparison) -> bool:
    """Whether more trials may decide: they may also give a side the number that it lacks."""
    lacks_a_side = row.before is None or row.after is None
    return row.verdict == "undecided" or (row.verdict == "not comparable" and lacks_a_side)
