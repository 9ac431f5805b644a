import pytest
import torch

from pipelines.data.split import held_out, limit
from pipelines.distributed.process_group import World
from pipelines.recipe import RecipeError, load, techniques
from pipelines.techniques.growing_batch import gathered_batches, shares
from pipelines.train import run_trial, set_up

PLAIN = ("batch_size=32", "drop_last=true", "epochs=2", "schedule={name: constant}", "augment={crop: 0}")


def config(epochs, batches):
    return techniques.GrowingBatch(epochs=tuple(epochs), batches=tuple(batches))


def test_more_and_more_batches_make_a_step():
    counts = gathered_batches(16, 4, config([1, 2.5], [2, 4]))
    assert counts == [1, 1, 1, 1, 0, 2, 0, 2, 0, 2, 0, 2, 0, 0, 0, 4]


def test_an_epoch_ends_with_a_step_of_what_there_is():
    assert gathered_batches(5, 5, config([0], [3])) == [0, 0, 3, 0, 2]


def test_a_training_that_ends_within_an_epoch_ends_with_a_step():
    assert gathered_batches(4, 5, config([0], [3])) == [0, 0, 3, 1]


@pytest.mark.parametrize("epochs", [3, 7])
def test_every_batch_is_gathered_once(epochs):
    assert sum(gathered_batches(11 * epochs, 11, config([1, 2], [3, 5]))) == 11 * epochs


def test_a_batch_counts_by_its_share_of_the_images():
    assert shares([1, 0, 2, 0, 0, 3], [8, 8, 8, 8, 8, 4]) == [1, 0.5, 0.5, 0.4, 0.4, 0.2]


def weights_of(dataset, *overrides):
    setup = set_up(load("digits/quick", [*PLAIN, *overrides]), dataset, World())
    trial = run_trial(setup, seed=3)
    return setup.network.state_dict(), trial


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_two_batches_gathered_are_one_of_twice_the_size(digits, reduction):
    # an even number of whole batches, so that both see the same images
    even = ("data.limit=1152", f"loss.reduction={reduction}", "optimizer={name: sgd, lr: 0.01, weight_decay: 0.1}")
    gathered, trial = weights_of(digits, *even, "techniques.growing_batch={epochs: [0], batches: [2]}")
    large, other = weights_of(digits, *even, "batch_size=64")
    small, _ = weights_of(digits, *even)
    assert trial.notes["growing_batch"]["updates"] == other.steps
    for name, weight in large.items():
        torch.testing.assert_close(gathered[name], weight, rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(gathered[name], small[name]) for name in small)


def test_a_smaller_last_batch_counts_less(digits):
    """Batches of 32, 32 and 16 images, gathered, are one of 80."""
    few = limit(digits, 80)
    one_step = ("drop_last=false", "epochs=1", "optimizer={name: sgd, lr: 0.1}")
    gathered, trial = weights_of(few, *one_step, "techniques.growing_batch={epochs: [0], batches: [3]}")
    large, other = weights_of(few, *one_step, "batch_size=80")
    assert trial.notes["growing_batch"]["updates"] == other.steps == 1
    for name, weight in large.items():
        torch.testing.assert_close(gathered[name], weight, rtol=1e-5, atol=1e-6)


def test_the_updates_of_a_training_that_stops_early(digits):
    """At a rate of nearly 0 no epoch is better than the first."""
    stops = ("data.validation=0.2", "epochs=9", "optimizer.lr=1e-9", "techniques.early_stopping={patience: 1}")
    two = "techniques.growing_batch={epochs: [0], batches: [2]}"
    _, trial = weights_of(limit(held_out(digits, 0.2, seed=0), 64), *stops, two)
    assert trial.steps == 4
    assert trial.notes["growing_batch"]["updates"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{epochs: [1], batches: [2, 4]}", "as many epochs as batches"),
        ("{epochs: [], batches: []}", "one at least"),
        ("{epochs: [2, 1], batches: [2, 4]}", "must both rise"),
        ("{epochs: [1, 2], batches: [4, 2]}", "must both rise"),
        ("{epochs: [1], batches: [1]}", "greater than or equal to 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        load("digits/quick", [f"techniques.growing_batch={text}"])


@pytest.mark.parametrize("other", ["gradient_clipping={norm: 1.0}", "penalty={l2: 0.1}"])
def test_what_looks_at_the_gradients_of_a_batch_does_not_go_with_it(other):
    with pytest.raises(RecipeError, match="growing_batch"):
        load("digits/quick", ["techniques.growing_batch={epochs: [1], batches: [2]}", f"techniques.{other}"])
