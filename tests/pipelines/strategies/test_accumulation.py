"""Accumulated gradients are those of the whole batch."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.events import supervised
from pipelines.losses import make_loss
from pipelines.strategies.accumulation import make_backward, whole_batch
from pipelines.train import run_trial, set_up
from tests.pipelines.distributed.test_process_group import in_processes

PLAIN = ["epochs=1.5", "augment.crop=0"]


def quick(*overrides):
    return recipe.load("digits/quick", [*PLAIN, *overrides])


def gradients(chosen, images, local_batch_size=12):
    """Loss and gradients of a network without norms, on the first so many of always the same images."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    seen = []
    state = SimpleNamespace(
        images=torch.randn(12, 5)[:images],
        labels=torch.randint(3, (12,))[:images],
        forward=lambda images: seen.append(len(images)) or network(images),
        loss_function=make_loss(chosen.loss),
        objective=supervised,
        optimizer=SimpleNamespace(backward=torch.Tensor.backward),
    )
    loss = make_backward(chosen, local_batch_size)(state)
    return loss, [parameter.grad for parameter in network.parameters()], seen


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("accumulation", "images", "sizes"), [(3, 12, [4, 4, 4]), (12, 12, [1] * 12), (3, 10, [4, 4, 2]), (2, 5, [5])]
)
def test_micro_batches_add_up_to_the_batch(reduction, accumulation, images, sizes):
    """Also where an epoch's last batch is smaller than the others."""
    loss = f"loss={{reduction: {reduction}, label_smoothing: 0.1}}"
    wanted_loss, wanted, _ = gradients(quick(loss), images)
    total, accumulated, seen = gradients(quick(loss, f"accumulation={accumulation}"), images)
    assert seen == sizes
    assert not total.requires_grad
    torch.testing.assert_close(total, wanted_loss)
    torch.testing.assert_close(accumulated, wanted)


def test_without_accumulation_there_is_nothing_to_choose():
    assert make_backward(quick(), 64).func is whole_batch


def train(world, dataset, accumulations, reduction):
    """The weights, the losses and the number of gradient exchanges of one trial for each number of micro-batches."""
    results = []
    for accumulation in accumulations:
        chosen = quick(f"loss.reduction={reduction}", f"accumulation={accumulation}")
        setup = set_up(chosen, dataset, world)
        exchanges = []
        if world.size > 1:
            setup.strategy.forward.register_comm_hook(None, counted(exchanges))
        trial = run_trial(setup, seed=5)
        weights = {name: tensor.clone() for name, tensor in setup.network.state_dict().items()}
        results.append((weights, [result.train_loss for result in trial.epochs], len(exchanges), trial.steps))
    return results


def counted(exchanges):
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    def hook(state, bucket):
        exchanges.append(bucket.index())
        return allreduce_hook(None, bucket)

    return hook


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_training_with_accumulation_is_the_same_training(digits, reduction):
    (weights, losses, *_), (accumulated, other_losses, *_) = train(World(), digits, [1, 4], reduction)
    torch.testing.assert_close(accumulated, weights, rtol=1e-3, atol=1e-4)
    assert other_losses == pytest.approx(losses, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_two_processes_exchange_accumulated_gradients_once_a_step(tmp_path, digits, reduction):
    alone = train(World(), digits, [1], reduction)[0]
    for results in in_processes(tmp_path, train, digits, [1, 4], reduction):
        for weights, losses, exchanges, steps in results:
            torch.testing.assert_close(weights, alone[0], rtol=1e-3, atol=1e-4)
            assert losses == pytest.approx(alone[1], rel=1e-3)
            assert exchanges == results[0][2]
            assert steps == alone[3] <= exchanges
