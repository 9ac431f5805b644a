import pytest
import torch

from pipelines import models, techniques
from pipelines.distributed.process_group import World
from pipelines.estimate import estimate, flops
from pipelines.recipe import RecipeError, load
from pipelines.techniques.batch_selection import hardest
from pipelines.train import run_trial, set_up
from tests.pipelines.techniques.repeated import check_compiled_in_the_warm_up, check_nothing_leaks, same, weights_of

SMALL = [
    "model.widths=[4,6,8]",
    "model.whitening.images=40",
    "batch_size=16",
    "epochs=2",
    "schedule.epochs=[0,1,2]",
    "optimizer.lr=0.1",
    "precision=float32",
    "augment.crop=1",
    "techniques.batch_selection.proxy.widths=[4,4,4]",
    "techniques.batch_selection.proxy.whitening.images=40",
]


def bench_for(dataset, *overrides, world=None):
    return set_up(load("cifar10/airbench96-faster", [*SMALL, *overrides]), dataset, world or World())


class Sizes:
    def __init__(self):
        self.seen = []

    def step_end(self, state):
        self.seen.append((len(state.images), len(state.labels)))


def test_the_largest_losses_are_chosen_in_the_order_of_the_batch():
    losses = torch.tensor([0.1, 3.0, 0.2, 2.0, 5.0, 0.0])
    assert hardest(losses, 0.5).tolist() == [1, 3, 4]
    assert hardest(losses, 0.01).tolist() == [4]


@pytest.mark.parametrize(("keep", "size"), [(0.5, 8), (0.25, 4)])
def test_the_network_is_trained_on_a_share_of_each_batch(coloured, keep, size):
    sizes = Sizes()
    run_trial(bench_for(coloured, f"techniques.batch_selection.keep={keep}"), 0, [sizes])
    assert sizes.seen == [(size, size)] * 10


def test_the_training_loss_is_the_mean_over_the_images_trained_on(coloured):
    """Of three classes, and before anything was learnt: about log 3, whatever the share."""
    overrides = ["optimizer.lr=1e-9", "epochs=1", "schedule.epochs=[0,0.5,1]", "loss.label_smoothing=0"]
    (epoch,) = run_trial(bench_for(coloured, *overrides), 0).epochs
    assert 0.9 < epoch.train_loss < 1.6


def test_a_seed_trains_the_same_weights_and_the_proxy_has_a_say(coloured):
    bench = bench_for(coloured)
    results = []
    for _ in range(2):
        run_trial(bench, 1)
        results.append(weights_of(bench))
    assert same(*results)
    other = bench_for(coloured, "techniques.batch_selection.proxy.widths=[4,4,6]")
    run_trial(other, 1)
    assert not same(results[0], weights_of(other))


def test_nothing_leaks_from_warm_up_or_another_trial(coloured):
    check_nothing_leaks(bench_for(coloured), bench_for(coloured))


def test_it_compiles_once(coloured, without_inductor):
    check_compiled_in_the_warm_up(bench_for(coloured, "compile=true"))


def test_the_network_starts_where_it_starts_without_the_proxy(coloured):
    class Start:
        def trial_start(self, state):
            self.weights = [parameter.clone() for parameter in state.network.parameters()]
            self.drawn = torch.rand(3)

    with_proxy, without = Start(), Start()
    run_trial(bench_for(coloured), 1, [with_proxy])
    run_trial(bench_for(coloured, "techniques.batch_selection=null"), 1, [without])
    assert same(with_proxy.weights, without.weights)
    assert torch.equal(with_proxy.drawn, without.drawn)


def watch(monkeypatch, method):
    """The arguments of each call of a method of the proxy's optimizer."""
    calls = []
    make_optimizer = techniques.batch_selection.make_optimizer

    def watched(*args, **kwargs):
        optimizer = make_optimizer(*args, **kwargs)
        real = getattr(optimizer, method)
        monkeypatch.setattr(optimizer, method, lambda argument: (calls.append(argument), real(argument)))
        return optimizer

    monkeypatch.setattr(techniques.batch_selection, "make_optimizer", watched)
    return calls


def test_the_proxy_steps_on_one_of_every_so_many_batches(coloured, monkeypatch):
    steps = watch(monkeypatch, "step")
    run_trial(bench_for(coloured, "techniques.batch_selection.every=3"), 0)
    assert steps == [0, 3, 6, 9]


def test_the_proxy_s_optimizer_scales_its_loss(coloured, monkeypatch):
    """In float16 the gradients are those of the summed loss, whatever the recipe minimises."""
    losses = watch(monkeypatch, "backward")
    run_trial(bench_for(coloured, "techniques.batch_selection.every=3"), 0)
    assert [loss.ndim for loss in losses] == [0, 0, 0, 0]


def test_it_trains_in_one_process(coloured):
    with pytest.raises(ValueError, match=r"techniques\.batch_selection trains in one process"):
        bench_for(coloured, world=World(size=2))


def test_it_goes_with_no_micro_batches():
    with pytest.raises(RecipeError, match="set accumulation=1"):
        load("cifar10/airbench96-faster", ["accumulation=2"])


def test_it_goes_with_no_cuda_graphs():
    with pytest.raises(RecipeError, match="set compile_mode=default"):
        load("cifar10/airbench96-faster", ["compile_mode=reduce-overhead"])


def test_the_estimate_counts_the_part_that_is_trained_on_and_the_proxy(coloured):
    cpu, recipe = torch.device("cpu"), load("cifar10/airbench96-faster", SMALL)
    whole = estimate(load("cifar10/airbench96-faster", [*SMALL, "techniques.batch_selection=null"]), coloured, cpu)
    half, selection = estimate(recipe, coloured, cpu), recipe.techniques.batch_selection
    proxy = flops(models.build_network(selection.proxy, (3, 32, 32), 3), torch.zeros(1, 3, 32, 32))
    images = half.steps * recipe.batch_size
    expected = selection.keep * whole.train_flops + images * (1 + 2 / selection.every) * proxy
    assert half.train_flops == pytest.approx(expected)
