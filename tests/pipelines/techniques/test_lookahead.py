import torch

from pipelines.events import State
from pipelines.recipe import load, techniques
from pipelines.techniques.lookahead import Lookahead, pull


class PlainStepper:
    """A optimizer over one tensor."""

    def __init__(self, weight):
        self.weight, self.published = weight, 0

    def master_tensors(self, network):
        return [self.weight]

    def copy_to_model(self):
        self.published += 1


def test_pull_is_the_average_and_resets_the_fast_weights():
    slow, fast = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])
    pull([slow], [fast], 0.75)
    assert slow.tolist() == fast.tolist() == [1.5, 3.0]


def test_against_a_plain_reference():
    """airbench94's schedule: every five steps, with decay 0.95^5 (t/T)^3, and the slow weights at the end."""
    steps, weight = 23, torch.zeros(1)
    optimizer = PlainStepper(weight)
    state = State(recipe=None, network=None, forward=None, optimizer=optimizer, seed=0, steps=steps, steps_per_epoch=10)
    technique = Lookahead(techniques.Lookahead())
    technique.trial_start(state)
    fast = slow = 0.0
    for step in range(1, steps + 1):
        weight += step
        fast += step
        state.step = step
        technique.step_end(state)
        if step % 5 == 0:
            decay = 0.95**5 * (step / steps) ** 3
            fast = slow = decay * slow + (1 - decay) * fast
        if step == steps:
            fast = slow
        assert torch.allclose(weight, torch.tensor([fast]))
    assert optimizer.published == 4 + 1


def weights_of(config, steps, steps_per_epoch):
    """The weight after each step of a training that adds the step's number."""
    weight = torch.zeros(1)
    state = State(None, None, None, PlainStepper(weight), seed=0, steps=steps, steps_per_epoch=steps_per_epoch)
    technique = Lookahead(config)
    technique.trial_start(state)
    path = []
    for step in range(1, steps + 1):
        weight += step
        state.step = step
        technique.step_end(state)
        path.append(weight.item())
    return path


def test_the_tail_of_e1():
    """The average starts 8 steps before the end of the decay, 272; every 4 steps after that the weights are set to it,
    with a decay of 0.7 throughout."""
    expected, weight, average = [], 0.0, None
    for step in range(1, 285):
        weight += step
        if step == 264:
            average = weight
        elif step > 264 and (step - 264) % 4 == 0:
            average = weight = 0.7 * average + 0.3 * weight
        expected.append(weight)
    config = load("cifar10/e1").techniques.lookahead
    assert torch.allclose(torch.tensor(weights_of(config, 284, 32)), torch.tensor(expected))


def test_hlb_averages_from_its_third_epoch_on():
    """Its first multiple of 5 steps there starts the average; decay 0.95^5 (t/T)^3, and it ends on the average."""
    expected, weight, average = [], 0.0, None
    for step in range(1, 582):
        weight += step
        if step > 2 * 48 and step % 5 == 0:
            decay = 0.95**5 * (step / 581) ** 3
            average = weight = weight if average is None else decay * average + (1 - decay) * weight
        expected.append(weight if step < 581 else average)
    config = load("cifar10/hlb").techniques.lookahead
    assert torch.allclose(torch.tensor(weights_of(config, 581, 48)), torch.tensor(expected))


def test_a_training_that_ends_before_its_start_is_left_alone():
    path = weights_of(techniques.Lookahead(every=2, start_epoch=3), steps=5, steps_per_epoch=2)
    assert path == [1, 3, 6, 10, 15]
