"""How long the trials of a run still take."""


class Pace:
    """The remaining time of a run, from the times at which its trials began and ended. All times are in seconds.

    From the second trial on, a trial lasts from the end of the one before. This counts what happens between two trials,
    which are trials of other runs where runs are interleaved: A B, B A, A B, … There every second trial ends as long
    after the first one as all trials in between take.
    """

    def __init__(self, trials: int, *, interleaved: bool = False) -> None:
        self._trials, self._interleaved = trials, interleaved
        self._started: float | None = None
        self._ends: list[float] = []

    def start_trial(self, now: float) -> None:
        """A trial begins."""
        if self._started is None:
            self._started = now

    def end_trial(self, now: float) -> None:
        """A trial has ended."""
        self._ends.append(now)

    def seconds_to_go(self, now: float, done: float = 0.0) -> float | None:
        """Seconds until the last trial ends; None as long as they are unknown.

        done: the share of the trial in progress that is over.
        """
        left = self._trials - len(self._ends) - done
        if left <= 0:
            return 0.0
        each = self._seconds_of_a_trial(now, done)
        return None if each is None else left * each

    def _seconds_of_a_trial(self, now: float, done: float) -> float | None:
        last = len(self._ends) - 1
        if self._interleaved:
            last -= last % 2
        if last > 0:
            return (self._ends[last] - self._ends[0]) / last
        if self._interleaved or self._started is None:
            return None
        if self._ends:
            return self._ends[0] - self._started
        return (now - self._started) / done if done else None
