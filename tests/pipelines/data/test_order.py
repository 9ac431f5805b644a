import pytest
import torch
from scipy.stats import chisquare
from torch.utils.data import WeightedRandomSampler

from pipelines import recipe
from pipelines.data.order import draw_order, sample_weights, shuffled
from pipelines.distributed.process_group import World
from pipelines.train import run_trial, set_up

LABELS = torch.arange(4000) % 4


def generator():
    return torch.Generator().manual_seed(0)


def test_without_weights_each_image_comes_once():
    assert torch.equal(draw_order(100, None, generator()).sort().values, torch.arange(100))


@pytest.mark.parametrize("drop_last", [True, False])
def test_micro_batches_of_several_processes_are_those_of_one(drop_last):
    """The last of three batches has a whole micro-batch of 8 images, and 3 of the next."""
    plain = {"count": 59, "batch_size": 24, "drop_last": drop_last, "accumulation": 3}
    alone, *ranks = (
        shuffled(**plain, generator=generator(), rank=rank, world_size=size).batches
        for rank, size in [(0, 1), *((rank, 4) for rank in range(4))]
    )
    for batch, *shares in zip(alone, *ranks, strict=True):
        micro_batches = [part.split(2) for part in shares]
        for number, expected in enumerate(batch.split(8)):
            assert torch.equal(torch.cat([part[number] for part in micro_batches if number < len(part)]), expected)


def test_weights_are_normalised():
    weights = sample_weights(LABELS, [2.0, 0.0, 4.0, 2.0], 4)
    assert weights.sum() == pytest.approx(1)
    assert weights[2] == pytest.approx(2 * weights[0])
    torch.testing.assert_close(weights, sample_weights(LABELS, [1.0, 0.0, 2.0, 1.0], 4))


def test_classes_are_drawn_as_often_as_their_weights_say():
    order = draw_order(4000, sample_weights(LABELS, [0.1, 0.0, 1.0, 1.0], 4), generator())
    counts = torch.bincount(LABELS[order], minlength=4)
    assert counts[1] == 0
    assert counts.sum() == 4000
    assert chisquare(counts[[0, 2, 3]], [4000 * share / 2.1 for share in (0.1, 1, 1)]).pvalue > 1e-3


def test_it_is_what_torchs_sampler_draws():
    weights = sample_weights(LABELS, [0.1, 0.0, 1.0, 0.5], 4)
    theirs = list(WeightedRandomSampler(weights, 4000, generator=generator()))
    assert draw_order(4000, weights, generator()).tolist() == theirs


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("[1, 1]", "data.class_weights has 2 numbers, but there are 10 classes"),
        ("[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]", "data.class_weights is zero for every class that has images"),
        ("[-1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", "class_weights"),
        ("[.inf, 1, 1, 1, 1, 1, 1, 1, 1, 1]", "class_weights"),
        ("[.nan, 1, 1, 1, 1, 1, 1, 1, 1, 1]", "class_weights"),
    ],
)
def test_useless_weights_are_refused(weights, message, digits):
    with pytest.raises(ValueError, match=message):
        set_up(recipe.load("digits/quick", [f"data.class_weights={weights}"]), digits, World())


def test_a_class_that_is_never_drawn_is_not_learnt(digits):
    weights = "[1, 0, 1, 1, 1, 1, 1, 1, 1, 1]"
    chosen = recipe.load("digits/quick", ["epochs=4", f"data.class_weights={weights}", "evaluation.per_class=true"])
    by_class = run_trial(set_up(chosen, digits, World()), seed=0).notes["class_accuracy"]
    assert len(by_class) == 10
    assert by_class["1"] == 0
    assert min(by_class[name] for name in by_class if name != "1") > 0.5
