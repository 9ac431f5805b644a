import pytest
import torch
import torch.nn.functional as F

from pipelines.distributed.process_group import World
from pipelines.estimate import estimate
from pipelines.recipe import RecipeError, load
from pipelines.train import run_trial, set_up
from tests.pipelines.techniques.repeated import check_compiled_in_the_warm_up, check_nothing_leaks, same, weights_of

SMALL = [
    "model.widths=[4,6,8]",
    "model.whitening.images=40",
    "batch_size=16",
    "epochs=4",
    "schedule={epochs: [0, 4], values: [1, 0.1]}",
    "augment.resolution=null",
    "precision=float32",
    "techniques={lookahead: null, whitening_bias: null, data_pruning: {easy: 0.5, drop: 1, from_epoch: 2, until: 3}}",
]


def recipe_for(*overrides):
    return load("cifar10/e1", [*SMALL, *overrides])


def bench_for(dataset, *overrides, world=None):
    return set_up(recipe_for(*overrides), dataset, world or World())


class Watch:
    """How many images each step was trained on."""

    def __init__(self):
        self.sizes = []

    def step_end(self, state):
        assert len(state.images) == len(state.labels)
        self.sizes.append(len(state.images))


def test_the_batches_of_its_epochs_are_pruned_and_the_steps_stay(coloured):
    watch = Watch()
    trial = run_trial(bench_for(coloured), 0, [watch])
    steps = trial.steps // 4
    assert watch.sizes == [16] * 2 * steps + [8] * steps + [16] * steps


def test_it_stays_to_the_end_without_an_end(coloured):
    watch = Watch()
    run_trial(bench_for(coloured, "techniques.data_pruning.until=null"), 0, [watch])
    assert watch.sizes[-1] == 8


def test_the_images_with_the_largest_last_losses_are_trained_on(coloured):
    """The images are followed by their places in the training set, their losses by the logits of the training."""

    class Follow:
        def trial_start(self, state):
            self.last = {}
            whole = state.loss_function

            def watched(logits, labels):
                self.logits = logits.detach()
                return whole(logits, labels)

            state.loss_function = watched

        def epoch_start(self, state):
            self.epoch = iter(state.batches)
            self.indices = iter(state.batches.indices)

        def batch_ready(self, state):
            images, indices = next(self.epoch)[0], next(self.indices)
            if len(state.images) < len(images):
                losses = torch.tensor([self.last[one] for one in indices.tolist()])
                kept = losses.argsort(descending=True)[: len(losses) // 2].sort().values
                images, indices = images[kept], indices[kept]
            assert torch.equal(state.images, images)
            self.trained_on = indices.tolist()

        def step_end(self, state):
            losses = F.cross_entropy(self.logits.float(), state.labels, reduction="none")
            self.last.update(zip(self.trained_on, losses.tolist(), strict=True))

    run_trial(bench_for(coloured, "techniques.data_pruning.until=null", "drop_last=false"), 0, [Follow()])


class Shares:
    """Of the last batch: each image's gradient over that in the loss without pruning, rising."""

    def __init__(self, reduction):
        self.reduction = reduction

    def trial_start(self, state):
        pruned = state.loss_function

        def loss_function(logits, labels):
            loss = pruned(logits, labels)
            whole = F.cross_entropy(logits, labels, reduction=self.reduction)
            norms = [torch.autograd.grad(one, logits, retain_graph=True)[0].norm(dim=1) for one in (loss, whole)]
            self.last = (norms[0] / norms[1]).sort().values
            return loss

        state.loss_function = loss_function


@pytest.mark.parametrize(
    ("loss", "shares"),
    [
        # of 16 images 4 are hard and 12 easy, of which 6 are trained on: the mean of 10 images stands for that of 16
        (["loss={reduction: mean, label_smoothing: 0}"], [10 / 16] * 4 + [20 / 16] * 6),
        (
            ["loss={reduction: sum, label_smoothing: 0}", "optimizer=null", "optimizer={name: sgd, lr: 0.001}"],
            [1] * 4 + [2] * 6,
        ),
    ],
)
def test_the_rest_of_the_best_learnt_count_for_those_that_are_left_out(coloured, loss, shares):
    watch = Shares("sum" if "sum" in loss[0] else "mean")
    changes = ["techniques.data_pruning={easy: 0.75, drop: 0.5, until: null}", "epochs=2.4", *loss]
    run_trial(bench_for(coloured, *changes), 0, [watch])
    torch.testing.assert_close(watch.last, torch.tensor(shares).float(), rtol=1e-4, atol=1e-4)


def test_the_training_loss_is_the_same_whether_it_is_summed(coloured):
    """Without learning: the mean loss of each epoch, of which the last two are pruned."""
    changes = ["techniques.data_pruning={easy: 0.75, drop: 0.5, until: null}", "optimizer=null"]
    means = []
    for reduction in ("mean", "sum"):
        loss = [f"loss={{reduction: {reduction}, label_smoothing: 0}}", "optimizer={name: sgd, lr: 1e-12}"]
        trial = run_trial(bench_for(coloured, *changes, *loss), 0)
        means.append([epoch.train_loss for epoch in trial.epochs])
    assert means[1] == pytest.approx(means[0], rel=1e-3)


def test_a_seed_trains_the_same_weights_and_other_ones_without_it(coloured):
    bench, results = bench_for(coloured), []
    for _ in range(2):
        run_trial(bench, 1)
        results.append(weights_of(bench))
    assert same(*results)
    without = bench_for(coloured, "techniques.data_pruning=null")
    run_trial(without, 1)
    assert not same(results[0], weights_of(without))


def test_nothing_leaks_from_warm_up_or_another_trial(coloured):
    check_nothing_leaks(bench_for(coloured), bench_for(coloured))


def test_it_is_compiled_in_the_warm_up(coloured, without_inductor):
    check_compiled_in_the_warm_up(bench_for(coloured, "compile=true"))


def test_every_loader_can_be_pruned(coloured):
    watch = Watch()
    loader = [
        "augment=null",
        "augment={crop: 2, flip: random, draw: independent}",
        "loader=null",
        "loader={name: torchvision, workers: 0}",
    ]
    run_trial(bench_for(coloured, *loader), 0, [watch])
    assert set(watch.sizes) == {16, 8}


def test_it_trains_in_one_process(coloured):
    with pytest.raises(ValueError, match=r"techniques\.data_pruning trains in one process"):
        bench_for(coloured, world=World(size=2))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["accumulation=2"], "set accumulation=1"),
        (["techniques.data_pruning.from_epoch=0.5"], "greater than or equal to 1"),
        (["techniques.data_pruning.until=1.5"], "until=1.5 must be more than from_epoch=2"),
        (["techniques.batch_selection={proxy: {name: airnet}}"], "batch_selection and data_pruning each choose"),
        (["techniques.fixmatch={strong: {cutout: 4}}", "loss.reduction=mean"], "data_pruning needs the loss of each"),
    ],
)
def test_what_it_does_not_go_with(overrides, message):
    with pytest.raises(RecipeError, match=message):
        recipe_for(*overrides)


def test_the_estimate_counts_the_images_that_are_trained_on(coloured):
    cpu = torch.device("cpu")
    whole = estimate(recipe_for("techniques.data_pruning=null"), coloured, cpu)
    pruned = estimate(recipe_for(), coloured, cpu)
    assert pruned.train_flops == pytest.approx(0.875 * whole.train_flops)
