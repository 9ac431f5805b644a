"""MLPerf's log of a trial, written by its own library (extra `mlperf`): `:::MLLOG` lines.

The interval of the run is MLPerf's (training_policies, training_rules.adoc, "Timing"): whatever touches the data set is
in it, evaluation too; starting, building and compiling are the initialisation before it. Our records keep durations and
not moments, so that the moments count from when the run was created.
"""

import logging
from pathlib import Path

from results.extras import require
from results.record import Run, TrialRecord

INITIALISATION = ("startup", "build", "compile")
BEFORE_EPOCHS = ("load", "transfer", "preprocess", "whiten")
EPOCH = ("augment", "train")


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
    start = 1000 * run.record.created.timestamp()

    def at(seconds: float) -> dict[str, int]:
        return {"time_ms": round(start + 1000 * seconds)}

    try:
        log.event(keys.SUBMISSION_BENCHMARK, run.record.recipe_name, **at(0))
        log.event(keys.SUBMISSION_PLATFORM, run.machine, **at(0))
        log.event(keys.GLOBAL_BATCH_SIZE, run.record.recipe.get("batch_size"), **at(0))
        log.event(keys.SEED, trial.seed, **at(0))
        log.start(keys.INIT_START, **at(0))
        now = trial.seconds(*INITIALISATION)
        log.end(keys.INIT_STOP, **at(now))
        log.start(keys.RUN_START, **at(now))
        now += trial.seconds(*BEFORE_EPOCHS)
        for result in trial.epochs:
            of = {"metadata": {keys.EPOCH_NUM: result.epoch}}
            log.start(keys.EPOCH_START, **of, **at(now))
            now += _seconds(trial, result.epoch, EPOCH)
            log.end(keys.EPOCH_STOP, **of, **at(now))
            now += _seconds(trial, result.epoch, ("evaluate",))
            if result.accuracy is not None:
                log.event(keys.EVAL_ACCURACY, result.accuracy, **of, **at(now))
        now += trial.seconds("final_evaluate")
        status = keys.SUCCESS if trial.outcome == "reached" else keys.ABORTED
        log.end(keys.RUN_STOP, metadata={keys.STATUS: status}, **at(now))
    finally:
        handler.close()


def _seconds(trial: TrialRecord, epoch: int, names: tuple[str, ...]) -> float:
    return sum(lap.seconds for lap in trial.laps if lap.epoch == epoch and lap.name in names)
