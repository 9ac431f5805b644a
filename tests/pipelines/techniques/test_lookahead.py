import torch

from pipelines.recipe import techniques
from pipelines.techniques import State
from pipelines.techniques.lookahead import Lookahead, pull


class PlainStepper:
    """A stepper over one tensor."""

    def __init__(self, weight):
        self.weight, self.published = weight, 0

    def averageable(self, network):
        return [self.weight]

    def publish(self):
        self.published += 1


def test_pull_is_the_average_and_resets_the_fast_weights():
    slow, fast = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])
    pull([slow], [fast], 0.75)
    assert slow.tolist() == fast.tolist() == [1.5, 3.0]


def test_against_a_plain_reference():
    """airbench94's schedule: every five steps, with decay 0.95^5 (t/T)^3, and the slow weights at the end."""
    steps, weight = 23, torch.zeros(1)
    stepper = PlainStepper(weight)
    state = State(recipe=None, network=None, forward=None, stepper=stepper, seed=0, steps=steps, steps_per_epoch=10)
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
    assert stepper.published == 4 + 1
