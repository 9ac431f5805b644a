from datetime import timedelta
from pathlib import Path

import pytest

from results.exports.tensorboard import ends, write
from results.record import Run
from tests.results.builders import CREATED, record, trial

STARTED = CREATED + timedelta(minutes=1)

events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def test_what_tensorboard_reads_is_what_the_record_says(tmp_path):
    kept = trial(7, started=STARTED)
    run = Run(record(), (kept,), Path("runs/one"))
    (place,) = write(run, tmp_path)
    assert place == tmp_path / "one" / "seed-7"
    read = events.EventAccumulator(str(place)).Reload()
    for tag, values in {
        "accuracy/evaluation": [result.accuracy for result in kept.epochs],
        "accuracy/evaluation, one view": [result.accuracy_plain for result in kept.epochs],
        "loss/training": [result.train_loss for result in kept.epochs],
    }.items():
        found = read.Tensors(tag)
        assert [event.step for event in found] == [1, 2, 3]
        assert [event.tensor_proto.float_val[0] for event in found] == pytest.approx(values)
        moments = [event.wall_time - STARTED.timestamp() for event in found]
        assert moments == pytest.approx(ends(kept), rel=1e-6)
    assert "accuracy/training" not in read.Tags()["tensors"]


@pytest.mark.parametrize("reported", [(1, 2, 3), (3,), (1, 3)])
def test_an_epoch_ends_after_all_laps_before_it(reported):
    epochs = [result for result in trial().epochs if result.epoch in reported]
    assert ends(trial(epochs=epochs)) == [2 + 4 + 8 + 16 + 7000 * (10**epoch - 1) / 9 for epoch in reported]
