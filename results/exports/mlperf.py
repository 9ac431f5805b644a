"""MLPerf's log of a trial, written by its own library (extra `mlperf`): `:::MLLOG` lines.

The interval of the run is MLPerf's (training_policies, training_rules.adoc, "Timing"): whatever touches the data set is
in it, evaluation too; starting, building and compiling are the initialisation before it. Our records keep the durations
of laps, so that the moments count from the beginning of the trial.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from results.extras import require
from results.protocols import AFTER_TRAINING, COMMAND, command_rest
from results.record import Lap, Run, TrialRecord

INITIALISATION = ("startup", "build", "compile")
EVALUATION = ("evaluate", *AFTER_TRAINING)


def write(run: Run, trial: TrialRecord, path: Path) -> None:
    """The log of one trial, which replaces what was there.

    ValueError where mlperf-logging is missing; OSError for a file that cannot be written.
    """
    library = require("mlperf_logging.mllog", "mlperf")
    keys = library.constants
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    sink = logging.Logger("mlperf", logging.INFO)
    sink.addHandler(handler)
    log = library.mllog.MLLogger(logger=sink, root_dir=str(Path(__file__).parents[2]))
    start = 1000 * (trial.started or run.record.created).timestamp()
    laps = [lap for lap in trial.laps if lap.name not in (*INITIALISATION, COMMAND, "total")]

    def at(seconds: float) -> dict[str, int]:
        return {"time_ms": round(start + 1000 * seconds)}

    try:
        log.event(keys.SUBMISSION_BENCHMARK, run.record.recipe_name, **at(0))
        log.event(keys.SUBMISSION_PLATFORM, run.machine, **at(0))
        log.event(keys.GLOBAL_BATCH_SIZE, run.options.batch_size, **at(0))
        log.event(keys.SEED, trial.seed, **at(0))
        log.start(keys.INIT_START, **at(0))
        now = trial.seconds(*INITIALISATION)
        log.end(keys.INIT_STOP, **at(now))
        log.start(keys.RUN_START, **at(now))
        stop = now + _seconds(laps) + command_rest(trial)
        now += _seconds(lap for lap in laps if lap.epoch is None and lap.name not in AFTER_TRAINING)
        now += command_rest(trial)
        last = 0
        for result in trial.epochs:
            own = [lap for lap in laps if lap.epoch is not None and last < lap.epoch <= result.epoch]
            last = result.epoch
            of = {"metadata": {keys.EPOCH_NUM: result.epoch}}
            log.start(keys.EPOCH_START, **of, **at(now))
            now += _seconds(lap for lap in own if lap.name not in EVALUATION)
            log.end(keys.EPOCH_STOP, **of, **at(now))
            now += _seconds(lap for lap in own if lap.name in EVALUATION)
            if result.accuracy is not None:
                log.event(keys.EVAL_ACCURACY, result.accuracy, **of, **at(now))
        status = keys.SUCCESS if trial.outcome == "reached" else keys.ABORTED
        log.end(keys.RUN_STOP, metadata={keys.STATUS: status}, **at(stop))
    finally:
        handler.close()


def _seconds(laps: Iterable[Lap]) -> float:
    return sum(lap.seconds for lap in laps)
