import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.training import tracking
from tests.bench.conftest import SMALL, error_of, measured, only_run

pytest.importorskip("tensorboard")
pytest.importorskip("matplotlib")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TRACKED = (*SMALL, "--trials", "2", "evaluation.train_accuracy=true", "techniques.ema={}")

DATA = SimpleNamespace(name="digits", test_images=[0])


def events(folder):
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


@pytest.fixture
def tracked(main):
    ended = main(*TRACKED, "--track", "--quiet")
    assert (ended.status, ended.err) == (0, "")
    return only_run("runs")


def test_every_trial_has_its_curves_pictures_and_settings(tracked):
    for trial in tracked.trials:
        found = events(tracked.path / "tensorboard" / f"seed-{trial.seed}")
        scalars = {tag: found.Scalars(tag) for tag in found.Tags()["scalars"]}
        for tag, name in (
            ("loss/training", "train_loss"),
            ("accuracy/training", "train_accuracy"),
            ("accuracy/evaluation", "accuracy"),
        ):
            values = [getattr(epoch, name) for epoch in trial.epochs]
            assert [event.value for event in scalars[tag]] == pytest.approx(values)
            assert [event.step for event in scalars[tag]] == [1, 2]
        assert all(event.value > 0 for event in scalars["loss/evaluation"])
        rates = {tag.split()[-1]: events for tag, events in scalars.items() if tag.startswith("learning rate/")}
        assert set(rates) == {"filter", "bias"}
        assert all(event.value > 0 for events in rates.values() for event in events[:1])
        updates = scalars["update of the epoch/head.weight"]
        assert [event.step for event in updates] == [2], "before the first epoch nothing was copied"
        assert 0 < updates[0].value < 10
        assert set(found.Tags()["images"]) == {"images and predictions", "confusion matrix"}
        assert "recipe/text_summary" in found.Tags()["tensors"]


def test_the_record_says_that_it_was_tracked(tracked):
    assert [trial.notes for trial in tracked.trials] == [{"tracked": True}] * 2
    assert "--track" in tracked.record.command


def test_a_tracked_trial_is_the_untracked_one(tracked, main, tmp_path):
    assert main(*TRACKED, "--quiet", "--out", tmp_path / "plain").status == 0
    plain = only_run(tmp_path / "plain")
    assert not (plain.path / "tensorboard").exists()
    without_note = [measured(trial) | {"notes": {}} for trial in tracked.trials]
    assert without_note == [measured(trial) for trial in plain.trials]
    laps = [[(lap.name, lap.epoch) for lap in trial.laps] for run in (tracked, plain) for trial in run.trials]
    assert laps[:2] == laps[2:]


@pytest.mark.parametrize("module", ["tensorboard", "matplotlib"])
def test_a_missing_extra_is_one_line_and_no_record(main, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert "pip install -e '.[track]' -c constraints.txt" in error_of(main(*SMALL, "--track"))
    assert not Path("runs").exists()


@pytest.mark.parametrize("strategy", ["FSDP2", "ZeRO-3"])
def test_a_network_that_no_process_has_the_whole_of_is_refused(strategy):
    with pytest.raises(ValueError, match=f"under {strategy} none has it"):
        tracking.check(SimpleNamespace(dataset=DATA, strategy=SimpleNamespace(name=strategy, has_whole_weights=False)))
    tracking.check(SimpleNamespace(dataset=DATA, strategy=SimpleNamespace(name="ZeRO-2", has_whole_weights=True)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_images_of_any_number_of_channels_are_drawn(channels):
    from matplotlib.figure import Figure

    image = np.arange(64 * channels, dtype=np.uint8).reshape(8, 8, channels)
    drawn = Figure().subplots().imshow(tracking.drawable(image)).get_array()
    assert drawn.shape == ((8, 8, 3) if channels == 3 else (8, 8))


def test_settings_become_dotted_keys():
    assert tracking.flat({"a": {"b": 1, "c": [1, 2]}, "d": True}) == {"a.b": 1, "a.c": "[1, 2]", "d": True}
