"""TensorBoard's events of a run that was made without `--track`, written by its own library (extra `track`)."""

from pathlib import Path

from results.extras import require
from results.record import Run, TrialRecord


def write(run: Run, folder: Path) -> list[Path]:
    """A folder of events a trial: accuracy and training loss of each epoch, at the wall time at which it ended.

    Records keep the durations of laps, which count from the beginning of the trial. A run that was written before is
    written beside it. ValueError where tensorboard is missing.
    """
    summary = require("tensorboard.summary", "track")
    written = []
    for trial in run.trials:
        began = (trial.started or run.record.created).timestamp()
        place = folder / run.path.name / f"seed-{trial.seed}"
        place.mkdir(parents=True, exist_ok=True)
        writer = summary.Writer(summary.DirectoryOutput(str(place)))
        for result, seconds in zip(trial.epochs, ends(trial), strict=True):
            at = {"step": result.epoch, "wall_time": began + seconds}
            curves = {
                "accuracy/evaluation": result.accuracy,
                "accuracy/evaluation, one view": result.accuracy_plain,
                "accuracy/training": result.train_accuracy,
                "loss/training": result.train_loss,
            }
            for tag, value in curves.items():
                if value is not None:
                    writer.add_scalar(tag, value, **at)
        writer.close()
        written.append(place)
    return written


def ends(trial: TrialRecord) -> list[float]:
    """Seconds from the beginning of the trial to the end of each of its epochs, evaluations included."""
    before = trial.seconds("transfer", "preprocess", "build", "whiten", "pretrain")
    of_epochs = [lap for lap in trial.laps if lap.epoch is not None]
    return [before + sum(lap.seconds for lap in of_epochs if lap.epoch <= result.epoch) for result in trial.epochs]
