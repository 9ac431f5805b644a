import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels import choice
from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.events import EVENTS
from pipelines.models.layers import BatchNorm
from pipelines.seeds import seed_of_rank
from pipelines.train import run_trial, set_up, slowest
from tests.pipelines.calling import calling

CPU = torch.device("cpu")
DAVIDNET = ["model.widths=[4,4,6,8]", "model.norm.group_size=8", "model.whitening.images=40", "batch_size=16"]
needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no fast bfloat16"
)


def quick(*overrides):
    return recipe.load("digits/quick", ["epochs=2", *overrides])


def davidnet(*overrides):
    small = [*DAVIDNET, "epochs=2", "schedule.epochs=[0,1,2]", "optimizer.lr=0.1", "precision=float32"]
    return recipe.load("cifar10/davidnet-10", [*small, *overrides])


def setup_for(chosen, dataset):
    return set_up(chosen, dataset, World())


class Recorder:
    """Writes down every event, and what `look` sees at it."""

    def __init__(self, look=lambda state: None):
        self.events = []
        for event in EVENTS:
            setattr(self, event, lambda state, event=event: self.events.append((event, look(state))))

    @property
    def names(self):
        return [name for name, _ in self.events]

    def seen(self, wanted):
        return [value for name, value in self.events if name == wanted]


def test_the_data_set_is_not_modified(digits):
    before = digits.train_images.copy(), digits.test_images.copy(), digits.train_labels.copy()
    run_trial(setup_for(quick("epochs=0.2"), digits), seed=0)
    after = digits.train_images, digits.test_images, digits.train_labels
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("version", ["auto", "reference", "fast"])
def test_the_recipe_says_which_kernels_run(digits, version, monkeypatch):
    monkeypatch.setattr(choice, "_version", None)
    recorder = Recorder(lambda state: choice._version)
    run_trial(setup_for(quick("epochs=0.1", f"kernels={version}"), digits), seed=0, observers=[recorder])
    assert {seen for _, seen in recorder.events} == {version}


@pytest.mark.parametrize(("overrides", "expected"), [(("float32_precision=tf32",), True), ((), False)])
def test_the_recipe_says_whether_float32_is_tf32(digits, overrides, expected):
    recorder = Recorder(lambda state: (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
    run_trial(setup_for(quick("epochs=0.1", *overrides), digits), seed=0, observers=[recorder])
    assert {seen for _, seen in recorder.events} == {(expected, expected)}


def test_a_cpu_trains_the_same_with_any_of_them(digits, monkeypatch):
    monkeypatch.setattr(choice, "_version", None)
    augmented = ("epochs=1", "augment.crop=1", "augment.flip=random", "augment.cutout=2")
    recipes = [quick(*augmented, f"kernels={version}") for version in ("reference", "auto", "fast")]
    trials = [run_trial(setup_for(recipe, digits), seed=0) for recipe in recipes]
    assert len({trial.epochs[0].train_loss for trial in trials}) == 1
    assert len({trial.accuracy for trial in trials}) == 1


def test_digits_are_learnt(digits):
    chosen = quick("epochs=6", "schedule.epochs=[0,1,6]")
    trial = run_trial(setup_for(chosen, digits), seed=0)
    assert trial.accuracy > 0.9
    assert trial.epochs[-1].train_loss < 0.5 * trial.epochs[0].train_loss
    assert (trial.seed, trial.target, trial.reason) == (0, 0.97, None)
    assert trial.steps == 6 * (1437 // 64)
    assert trial.samples == trial.steps * 64
    assert trial.peak_host_bytes > 2**20
    assert trial.peak_device_bytes is None


def test_memory_and_laps_are_those_of_the_process_that_had_most(digits, monkeypatch):
    alone = run_trial(setup_for(quick("epochs=0.1"), digits), seed=0)
    monkeypatch.setattr(World, "maximum", lambda world, values: values + 1000)  # another one, that had more of all
    trial = run_trial(setup_for(quick("epochs=0.1"), digits), seed=0)
    assert trial.peak_host_bytes % 1024 == (alone.peak_host_bytes + 1000) % 1024
    assert all(lap.seconds >= 1000 for lap in trial.laps)


@pytest.mark.parametrize(("target", "expected"), [(0.01, "reached"), (0.9999, "missed")])
def test_the_accuracy_at_the_end_decides(digits, target, expected):
    trial = run_trial(setup_for(quick("epochs=1", f"target={target}"), digits), seed=0)
    assert trial.outcome == expected
    assert trial.accuracy == trial.epochs[-1].accuracy


def test_divergence_is_a_reason_and_no_accuracy(digits):
    recorder = Recorder()
    trial = run_trial(setup_for(quick("epochs=4", "optimizer.lr=1e30"), digits), seed=0, observers=[recorder])
    last = trial.epochs[-1]
    assert trial.outcome == "diverged"
    assert not math.isfinite(last.train_loss)
    assert trial.reason == f"the training loss of epoch {last.epoch} is {last.train_loss}"
    assert (trial.accuracy, trial.accuracy_plain, last.accuracy) == (None, None, None)
    assert last.epoch < 4
    assert recorder.names[-2:] == ["epoch_end", "trial_end"]
    assert "final_evaluate" not in [lap.name for lap in trial.laps]


def test_a_batch_larger_than_the_training_set_is_trained_if_none_is_dropped(digits):
    trial = run_trial(setup_for(quick("batch_size=2000", "drop_last=false"), digits), seed=0)
    assert trial.steps == 2


def test_samples_are_images_and_not_steps_times_batch_size(digits):
    trial = run_trial(setup_for(quick("drop_last=false"), digits), seed=0)
    assert trial.steps == 2 * 23
    assert trial.samples == 2 * 1437


@pytest.mark.parametrize(("epochs", "every"), [(2, 1), (2.1, 1), (3, 2), (0.5, 1)])
def test_events_come_in_the_documented_order(digits, epochs, every):
    recorder = Recorder()
    chosen = quick(f"epochs={epochs}", f"evaluation.every={every}", "batch_size=200")
    trial = run_trial(setup_for(chosen, digits), seed=0, observers=[recorder])
    steps_per_epoch = 7
    steps = math.ceil(epochs * steps_per_epoch)
    expected = ["pretrain", "trial_start"]
    for epoch in range(1, math.ceil(epochs) + 1):
        expected.append("epoch_start")
        expected += ["batch_ready", "gradients_ready", "step_end"] * min(steps_per_epoch, steps)
        expected.append("train_epoch_end")
        steps -= min(steps_per_epoch, steps)
        if epoch % every == 0 or epoch == math.ceil(epochs):
            expected += ["evaluation_start", "evaluation_end"]
        expected.append("epoch_end")
    assert recorder.names == [*expected, "trial_end"]
    assert trial.steps == math.ceil(epochs * steps_per_epoch)


@pytest.mark.parametrize("epochs", [1.0000000000001, 1.1, 1.9999999999999])
def test_every_epoch_has_a_step(digits, epochs):
    chosen = quick(f"epochs={epochs}", "batch_size=200")
    trial = run_trial(setup_for(chosen, digits), seed=0)
    assert trial.steps == chosen.steps(1437)
    assert len(trial.epochs) == math.ceil(trial.steps / 7)


def test_epochs_are_evaluated_every_so_often_and_at_the_end(digits):
    trial = run_trial(setup_for(quick("epochs=5", "evaluation.every=2"), digits), seed=0)
    assert [result.epoch for result in trial.epochs] == [1, 2, 3, 4, 5]
    assert [result.accuracy is not None for result in trial.epochs] == [False, True, False, True, True]
    laps = [(lap.name, lap.epoch) for lap in trial.laps if "evaluate" in lap.name]
    assert laps == [("evaluate", 2), ("evaluate", 4), ("final_evaluate", None)]


def test_state_tells_epochs_steps_and_results(digits):
    look = lambda state: (state.epoch, state.step, len(state.history), state.steps)  # noqa: E731
    recorder = Recorder(look)
    run_trial(setup_for(quick("batch_size=500"), digits), seed=0, observers=[recorder])
    assert recorder.seen("epoch_start") == [(0, 0, 0, 4), (1, 2, 1, 4)]
    assert recorder.seen("batch_ready") == [(0, 0, 0, 4), (0, 1, 0, 4), (1, 2, 1, 4), (1, 3, 1, 4)]
    assert recorder.seen("step_end") == [(0, 1, 0, 4), (0, 2, 0, 4), (1, 3, 1, 4), (1, 4, 1, 4)]
    assert recorder.seen("epoch_end") == [(0, 2, 1, 4), (1, 4, 2, 4)]
    assert recorder.seen("trial_end") == [(1, 4, 2, 4)]


def test_hooks_may_replace_the_batch_the_gradients_and_the_notes(digits):
    class Meddle:
        def trial_start(self, state):
            self.before = [parameter.detach().clone() for parameter in state.network.parameters()]

        def batch_ready(self, state):
            state.images, state.labels = torch.zeros_like(state.images[:5]), state.labels[:5]

        def gradients_ready(self, state):
            for parameter in state.network.parameters():
                parameter.grad.zero_()

        def trial_end(self, state):
            now = state.network.parameters()
            state.notes["still"] = all(torch.equal(old, new) for old, new in zip(self.before, now, strict=True))

    seen = []
    setup = setup_for(quick("epochs=0.2", "optimizer.weight_decay=0"), digits)
    network = setup.network
    setup = calling(setup, lambda images: seen.append((len(images), images.any().item())) or network(images))
    trial = run_trial(setup, seed=0, observers=[Meddle()])
    assert seen[: trial.steps] == [(5, False)] * trial.steps
    assert trial.notes == {"still": True}


@pytest.mark.parametrize("whitening", [True, False])
def test_laps_and_their_epochs(coloured, whitening):
    chosen = davidnet("epochs=2.5", *([] if whitening else ["model.whitening=null"]))
    trial = run_trial(setup_for(chosen, coloured), seed=0)
    before = ["transfer", "preprocess", "build", *(["whiten"] if whitening else []), "build", "build"]
    expected = [(name, None) for name in before]
    for epoch in (1, 2, 3):
        expected += [("augment", epoch), ("train", epoch)]
        expected.append(("evaluate", epoch) if epoch < 3 else ("final_evaluate", None))
    assert [(lap.name, lap.epoch) for lap in trial.laps] == expected
    assert all(lap.seconds > 0 for lap in trial.laps)


def test_accuracy_on_the_training_images_is_measured_if_asked_for(digits):
    trial = run_trial(setup_for(quick("evaluation.train_accuracy=true"), digits), seed=0)
    assert [result.train_accuracy is not None for result in trial.epochs] == [True, True]
    counted = trial.epochs[-1].train_accuracy * 1437
    assert counted == pytest.approx(round(counted))
    assert ("evaluate", 2) in [(lap.name, lap.epoch) for lap in trial.laps]
    assert [lap.name for lap in trial.laps].count("final_evaluate") == 1


def test_the_network_is_in_its_mode_and_evaluation_moves_no_statistics(coloured):
    def statistics(state):
        norms = [module for module in state.network.modules() if isinstance(module, BatchNorm)]
        return torch.cat([torch.cat([norm.running_mean, norm.running_var]) for norm in norms]).clone()

    modes = []
    setup = setup_for(davidnet("techniques.ema=null", "evaluation={tta: flip, batch_size: 8}"), coloured)
    network = setup.network
    setup = calling(setup, lambda images: modes.append((network.training, len(images))) or network(images))
    recorder = Recorder(statistics)
    run_trial(setup, seed=0, observers=[recorder])
    evaluation = [(False, size) for size in (8, 8, 8, 6)] * 2
    assert modes == ([(True, 16)] * 5 + evaluation) * 2
    starts, ends = recorder.seen("evaluation_start"), recorder.seen("evaluation_end")
    assert all(torch.equal(start, end) for start, end in zip(starts, ends, strict=True))
    assert not torch.equal(starts[0], starts[1])


@needs_bfloat16
@pytest.mark.parametrize(("precision", "weights"), [("half", torch.bfloat16), ("autocast", torch.float32)])
def test_lower_precision_learns_on_a_cpu(coloured, precision, weights):
    fast = ["epochs=12", "schedule.epochs=[0,1,12]", "model.norm.momentum=0.5", "techniques.ema=null"]
    setup = setup_for(davidnet(*fast, f"precision={precision}"), coloured)
    logits, forward = [], setup.strategy.forward
    setup = calling(setup, lambda images: logits.append(forward(images)) or logits[-1])
    trial = run_trial(setup, seed=0)
    assert setup.network.head.weight.dtype == weights
    assert {part.dtype for part in logits} == {torch.bfloat16}
    assert trial.epochs[-1].train_loss < 0.8 < trial.epochs[0].train_loss


def test_float16_on_a_cpu_is_refused_with_a_sentence(digits):
    with pytest.raises(ValueError, match=r"half_dtype=float16 on a CPU: .* set half_dtype=auto"):
        setup_for(quick("precision=half", "half_dtype=float16"), digits)


def test_seeds_of_ranks_differ_and_stay():
    seeds = {(seed, rank): seed_of_rank(seed, rank) for seed in range(20) for rank in range(8)}
    assert len(set(seeds.values())) == len(seeds)
    assert seeds == {key: seed_of_rank(*key) for key in seeds}


def test_laps_are_those_of_the_slowest_process(digits):
    class TwiceAsSlow(World):
        def maximum(self, values):
            return 2 * values

    laps = run_trial(setup_for(quick("epochs=0.1"), digits), seed=0).laps
    longest = slowest(list(laps), TwiceAsSlow(0, 2))
    assert longest == tuple(replace(lap, seconds=2 * lap.seconds) for lap in laps)


def test_no_lap_of_a_trial_begins_before_all_processes_do(digits):
    """What the first one does between two laps, such as to write events, is in no lap of those that wait for it."""
    begun = []

    class Counting(World):
        def barrier(self):
            begun.append(None)

    trial = run_trial(set_up(quick("epochs=0.1"), digits, Counting()), seed=0)
    assert len(begun) == len(trial.laps)
