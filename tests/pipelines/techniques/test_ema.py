import pytest
import torch
from torch import nn

from pipelines.events import State
from pipelines.optim.scheduled_optimizer import ScheduledOptimizer
from pipelines.recipe import techniques
from pipelines.techniques.ema import EMA, update, update_steps


def make_network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3).to(dtype), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3).to(dtype))


def make_state(network):
    return State(None, network, network, ScheduledOptimizer([], {}), seed=0, steps=100, steps_per_epoch=10)


def change(network, step):
    """Stands for a training step: every parameter and statistic moves."""
    generator = torch.Generator().manual_seed(step)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor += torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
        else:
            tensor += 1


def floats(network):
    return [tensor.clone() for tensor in network.state_dict().values() if tensor.is_floating_point()]


def train(network, technique, steps):
    """Change the network so many times; returns what it was after each change, the initial one first."""
    state = make_state(network)
    technique.trial_start(state)
    path = [floats(network)]
    for step in range(1, steps + 1):
        change(network, step)
        state.step = step
        technique.step_end(state)
        path.append(floats(network))
    return state, path


def plain_average(path, momentum, every):
    average = [tensor.double() for tensor in path[0]]
    for step in range(every, len(path), every):
        average = [
            momentum**every * a + (1 - momentum**every) * c.double() for a, c in zip(average, path[step], strict=True)
        ]
    return average


@pytest.mark.parametrize("every", [1, 3, 5])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_average_is_that_of_a_plain_loop(every, momentum, dtype):
    network = make_network(dtype)
    technique = EMA(techniques.EMA(momentum=momentum, every=every))
    state, path = train(network, technique, steps=17)
    expected = plain_average(path, momentum, every)
    assert all(average.dtype == torch.float32 for average in technique._average)
    for average, wanted in zip(technique._average, expected, strict=True):
        torch.testing.assert_close(average.double(), wanted, rtol=1e-5, atol=1e-5)
    technique.evaluation_start(state)
    for used, wanted, before in zip(floats(network), expected, path[-1], strict=True):
        assert used.dtype == before.dtype
        torch.testing.assert_close(used.double(), wanted, rtol=torch.finfo(used.dtype).eps, atol=1e-5)


def test_small_changes_reach_the_average_of_bfloat16_weights():
    average, current = [torch.ones(1)], [torch.full((1,), 2.0, dtype=torch.bfloat16)]
    for _ in range(1000):
        update(average, current, momentum=0.999)
    assert average[0].item() == pytest.approx(2 - 0.999**1000, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_evaluation_gives_the_trained_weights_back(dtype):
    network = make_network(dtype)
    technique = EMA(techniques.EMA(momentum=0.9, every=2))
    state, path = train(network, technique, steps=5)
    average = [tensor.clone() for tensor in technique._average]
    batches = network[1].num_batches_tracked.clone()
    for _ in range(2):
        technique.evaluation_start(state)
        assert not torch.equal(floats(network)[0], path[-1][0])
        technique.evaluation_end(state)
        assert all(torch.equal(now, before) for now, before in zip(floats(network), path[-1], strict=True))
    assert all(torch.equal(now, before) for now, before in zip(technique._average, average, strict=True))
    assert torch.equal(network[1].num_batches_tracked, batches)


def test_the_statistics_of_norms_are_averaged_too():
    network = make_network()
    technique = EMA(techniques.EMA(momentum=0.5, every=1))
    state, path = train(network, technique, steps=3)
    technique.evaluation_start(state)
    names = [name for name, tensor in network.state_dict().items() if tensor.is_floating_point()]
    place = names.index("1.running_var")
    torch.testing.assert_close(network[1].running_var.double(), plain_average(path, 0.5, 1)[place])


def test_averaging_does_not_touch_the_weights():
    watched, alone = make_network(), make_network()
    train(watched, EMA(techniques.EMA(momentum=0.9, every=1)), steps=4)
    for step in range(1, 5):
        change(alone, step)
    assert all(torch.equal(one, other) for one, other in zip(floats(watched), floats(alone), strict=True))


@pytest.mark.parametrize(
    ("per_epoch", "steps"),
    [(False, [5, 10, 15, 20, 25]), (True, [1, 6, 11, 13, 18, 23, 25])],
    ids=["all steps", "steps of each epoch"],
)
def test_the_steps_after_which_the_average_is_updated(per_epoch, steps):
    assert sorted(update_steps(25, 12, 5, per_epoch=per_epoch)) == steps


@pytest.mark.parametrize(("per_epoch", "updates"), [(True, 200), (False, 194)])
def test_updates_in_ten_epochs_of_cifar10_fast(per_epoch, updates):
    assert len(update_steps(970, 97, 5, per_epoch=per_epoch)) == updates
