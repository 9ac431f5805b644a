"""One and four real processes train the same parameters, up to float32's rounding; shares are exact."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.evaluate import evaluate
from pipelines.models.layers import make_norm
from pipelines.recipe.networks import Norm
from pipelines.recipe.training import Evaluation
from pipelines.strategies.match_single_process import UnevenBatch, match_single_process
from tests.pipelines.data.test_resident import make_loader
from tests.pipelines.processes import in_processes, train_all

RELATIVE = 1e-5
"""to the norm of all weights and statistics: sums in another order are rounded differently"""
LOW_RATE = "optimizer.lr=0.005"
"""DavidNet at 0.02 amplifies a relative difference of 5e-8 after one epoch to 2e-3 after four"""
TWENTY_STEPS = ["epochs=0.9", "optimizer.lr=0.02"]
AUGMENTED = (
    "augment={crop: 2, flip: random, cutout: 3, affine: {rotate: 10}, elastic: {}, brightness: 0.2, contrast: 0.2}"
)


def jobs_of(digits, coloured):
    """A name for each recipe, and the recipe with its data: 20 steps each, or a few epochs of the uneven ones."""
    small = ["model.widths=[4,4,6,8]", "batch_size=16", "epochs=4", "schedule.epochs=[0,1,4]", "precision=float32"]
    davidnet = [*small, LOW_RATE, "techniques.ema=null"]
    plain = [*davidnet, "model.whitening=null"]
    whitened = [*davidnet, "model.whitening={images: 40, bias: true}", "techniques.whitening_bias.epochs=2"]
    return {
        "no norm": (recipe.load("digits/quick", TWENTY_STEPS), digits),
        "no norm, small buckets": (recipe.load("digits/quick", [*TWENTY_STEPS, "parallel.bucket_mb=0.001"]), digits),
        "uneven last batch": (
            recipe.load("digits/quick", ["batch_size=500", "drop_last=false", "epochs=6", "optimizer.lr=0.02"]),
            digits,
        ),
        "every augmentation": (recipe.load("digits/quick", [*TWENTY_STEPS, AUGMENTED]), digits),
        "augmentation in host memory": (recipe.load("digits/quick", [*TWENTY_STEPS, "loader={name: bulk}"]), digits),
        "SyncBN": (recipe.load("cifar10/davidnet-10", [*plain, "model.norm={sync: true, group_size: null}"]), coloured),
        "accumulated SyncBN": (
            recipe.load("cifar10/davidnet-10", [*plain, "model.norm={sync: true, group_size: null}", "accumulation=2"]),
            coloured,
        ),
        "aligned ghost norm": (recipe.load("cifar10/davidnet-10", [*plain, "model.norm={group_size: 4}"]), coloured),
        "frozen whitening bias": (
            recipe.load("cifar10/davidnet-10", [*whitened, "model.norm={group_size: 4}"]),
            coloured,
        ),
    }


def flat(weights):
    return torch.cat([tensor.flatten() for tensor in weights.values() if tensor.is_floating_point()])


@pytest.mark.slow
def test_the_parameters_of_one_process(tmp_path, digits, coloured):
    """Two processes are compared with one in test_strategies_train.py, more of them here."""
    jobs = jobs_of(digits, coloured)
    alone = train_all(World(), list(jobs.values()))
    ranks = in_processes(tmp_path, train_all, list(jobs.values()), size=4)
    for name, one, first, last in zip(jobs, alone, ranks[0], ranks[-1], strict=True):
        for key in one["weights"]:
            assert torch.equal(first["weights"][key], last["weights"][key]), (name, key)
        weights, together = (flat(trained["weights"]) for trained in (one, first))
        assert (together - weights).norm() < RELATIVE * weights.norm(), name
        assert first["losses"] == pytest.approx(one["losses"], rel=1e-4), name
        assert first["accuracies"] == last["accuracies"], name


@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    size=st.integers(1, 8),
    drop_last=st.booleans(),
    seed=st.integers(0, 3),
)
def test_the_union_of_the_shares_is_each_sample_once_in_the_order_of_one_process(
    count, batch_size, size, drop_last, seed
):
    assume(count >= batch_size or not drop_last)
    common = {"count": count, "batch_size": batch_size, "drop_last": drop_last, "order_seed": seed}

    def epochs(rank, world_size):
        loader = make_loader(rank=rank, world_size=world_size, augment_seed=100 + rank, **common)
        return [[labels for _, labels in loader.epoch(epoch)] for epoch in range(2)]

    (alone, *ranks) = [epochs(0, 1), *(epochs(rank, size) for rank in range(size))]
    for epoch in range(2):
        together = [torch.cat(shares) for shares in zip(*(rank[epoch] for rank in ranks), strict=True)]
        assert all(torch.equal(batch, whole) for batch, whole in zip(together, alone[epoch], strict=True))
        seen = torch.cat(together).sort().values
        used = count // batch_size * batch_size if drop_last else count
        assert len(seen) == len(seen.unique()) == used


class Collected(World):
    """Adds nothing up, so that the share of one process can be seen."""

    def sum(self, values):
        return values


@given(
    count=st.integers(1, 50),
    size=st.integers(1, 8),
    batch_size=st.integers(1, 20),
    tta=st.sampled_from(["none", "flip"]),
)
def test_an_evaluation_counts_exactly_n_images(count, size, batch_size, tta):
    images = torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1)
    labels = torch.zeros(count, dtype=torch.long)
    config = Evaluation(tta=tta, batch_size=batch_size)
    seen, correct = [], 0

    def right(batch):
        seen.extend(batch.flatten().tolist())
        return torch.tensor([[1.0, 0.0]]).expand(len(batch), 2)

    for rank in range(min(size, count)):
        accuracy = evaluate(right, images, labels, config, Collected(rank, min(size, count))).with_tta
        correct += round(accuracy * count)
    views = 1 if tta == "none" else 2
    assert correct == count
    assert sorted(seen) == sorted(list(range(count)) * views)


@given(images=st.integers(1, 100), size=st.integers(2, 8), added=st.integers(0, 20))
def test_the_weights_of_an_uneven_batch_make_the_mean_over_its_images(images, size, added):
    """added: images that a technique gives each process beside its share."""
    if images < size:
        return
    losses, more = (np.random.default_rng(images).random(shape) for shape in (images, (size, added)))
    total = 0.0
    for rank, share in enumerate(np.array_split(losses, size)):
        share = np.concatenate([share, more[rank]])
        uneven = UnevenBatch(images, World(rank, size))
        uneven.batch_ready(SimpleNamespace(step=9, steps_per_epoch=5, labels=share))
        logits = torch.tensor(float(share.mean()), requires_grad=True)
        loss = uneven.weighted(lambda value, _: value * 1.0)(logits, None)
        loss.backward()
        assert loss.item() == pytest.approx(share.mean())
        total += logits.grad.item() * share.mean() / size
    assert total == pytest.approx(np.append(losses, more).mean())


def test_only_unequal_shares_are_weighted():
    loss = F.cross_entropy
    base = ["batch_size=64", "drop_last=false"]
    for overrides, images, size, names in (
        (base, 129, 1, []),
        (base, 130, 2, ["AveragedStatistics"]),
        (base, 131, 2, ["UnevenBatch", "AveragedStatistics"]),
        ([*base, "loss.reduction=sum"], 131, 2, ["AveragedStatistics"]),
        (["batch_size=64"], 131, 2, ["AveragedStatistics"]),
    ):
        function, hooks = match_single_process(loss, recipe.load("digits/quick", overrides), images, World(0, size))
        assert [type(hook).__name__ for hook in hooks] == names
        assert (function is loss) == ("UnevenBatch" not in names)


def test_sync_norm_alone_is_batch_norm():
    torch.manual_seed(0)
    images = torch.randn(6, 3, 4, 4) * 2 + 1
    plain, sync = make_norm(3, Norm()), make_norm(3, Norm(sync=True))
    torch.testing.assert_close(sync(images), plain(images))
    torch.testing.assert_close(sync.running_var, plain.running_var)
