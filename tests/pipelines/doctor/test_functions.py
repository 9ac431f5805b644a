"""A function of the user's own under examination: right, and wrong in one way at a time."""

import pytest
from torch.nn.modules import module
from torch.optim import optimizer

from pipelines.distributed.process_group import World
from pipelines.doctor import examine_function
from pipelines.recipe.scripts import Function
from pipelines.scripts.function import FunctionTrainer

TRAIN = """
import torch
from torch import nn

kept = []


def train(run):
    network = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images = torch.randn(64, 8)
    labels = (images[:, 0] > 0).long()
    for epoch in run.epochs(3):
        with run.lap("train", epoch):
            network.train()
            for _ in range(20):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(images), labels)
                loss.backward()
                optimizer.step()
        network.eval()
        with run.lap("evaluate", epoch), torch.no_grad():
            accuracy = (network(images).argmax(1) == labels).float().mean()
        run.evaluated(epoch, accuracy=accuracy, loss=loss)
    return accuracy
"""


pytestmark = pytest.mark.usefixtures("modules_as_before")


@pytest.fixture
def found(tmp_path):
    """What is found in TRAIN after some replacements, by check."""

    def examine(*replacements, text=TRAIN):
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.py"
        path.write_text(text)
        trainer = FunctionTrainer(Function(entry=f"{path}:train", target=0.5), World(), smoke_test=True)
        examination = examine_function(trainer.run_trial)
        return {one.check: one for one in examination.findings}, examination.absent

    return examine


def test_a_healthy_function(found):
    findings, absent = found()
    assert list(findings) == ["result", "laps", "seeds", "modes", "gradients", "updates", "time"]
    timed = findings.pop("laps")  # the share outside depends on the machine
    assert "train, evaluate; " in timed.sentence
    assert {one.verdict for one in findings.values()} == {"ok"}, findings
    assert findings["gradients"].sentence == "all 4 parameters get one in the first 10 steps"
    assert "pixels" in absent


@pytest.mark.parametrize(
    ("old", "new", "check", "verdict", "sentence"),
    [
        ("network.eval()", "pass", "modes", "broken", "network.eval() is forgotten"),
        ("network.train()", "network.eval()", "modes", "broken", "trained in evaluation mode"),
        ("def train(run):\n", "def train(run):\n    torch.manual_seed(3)\n", "seeds", "suspicious", "seed of its own"),
        ("loss.backward()", "loss", "gradients", "broken", "no parameter of an optimizer gets one"),
        ("loss.backward()", "(loss * float('nan')).backward()", "gradients", "broken", "0.weight is no number"),
        ("network.parameters()", "[*network.parameters(), torch.zeros(3, requires_grad=True)]", "gradients",
         "suspicious", "a parameter of 3 gets none in the first 10 steps, one of 1 of 5"),
        ("lr=0.1", "lr=100.0", "updates", "broken", "a step moves a layer by"),
        ("lr=0.1", "lr=0.0", "updates", "suspicious", "none in the first 10 steps: their learning rate is 0"),
        ('"train", epoch', '"train"', "laps", "suspicious", "epoch 1 has no run.lap('train', 1)"),
        ("run.evaluated(epoch, accuracy=accuracy, loss=loss)", "pass", "result", "suspicious", "no epoch is reported"),
        ("loss=loss)", "loss=float('nan'))", "result", "broken", "the training loss of epoch 1 is nan"),
    ],
)  # fmt: skip
def test_a_fault(found, old, new, check, verdict, sentence):
    findings, _ = found((old, new))
    assert findings[check].verdict == verdict
    assert sentence in findings[check].sentence


ZERO = "network[-1].weight.data.zero_(); network[-1].bias.data.zero_(); optimizer = "
WARM_UP = (
    "                for group in optimizer.param_groups: group['lr'] = 0.001 * step\n                optimizer.step()"
)


@pytest.mark.parametrize(
    "replacements",
    [
        [("optimizer = ", ZERO)],
        [("optimizer = ", ZERO), ("SGD(network.parameters(), lr=0.1)", "AdamW(network.parameters())")],
        [("for _ in", "for step in"), ("                optimizer.step()", WARM_UP)],
    ],
)  # fmt: skip
def test_a_head_that_starts_at_zero_and_a_warm_up_from_zero_are_healthy(found, replacements):
    findings, _ = found(*replacements)
    assert {findings[check].verdict for check in ("modes", "gradients", "updates")} == {"ok"}, findings


def test_what_a_trial_leaves_behind_is_seen(found):
    """A network that the next trial goes on with."""
    leaves = ("    optimizer = ", "    kept.append(network)\n    network = kept[0]\n    optimizer = ")
    findings, _ = found(leaves)
    assert findings["seeds"].verdict == "suspicious"
    assert "a trial leaves something" in findings["seeds"].sentence


def test_time_outside_laps_is_seen(found):
    """As long as that within, however fast the machine is."""
    begin = ("def train(run):\n", "import time\n\ndef train(run):\n    begun = time.perf_counter()\n")
    end = ("    return accuracy", "    time.sleep(time.perf_counter() - begun)\n    return accuracy")
    findings, _ = found(begin, end)
    assert findings["laps"].verdict == "suspicious"
    assert "of the time is outside" in findings["laps"].sentence


def test_a_function_without_torch_says_which_checks_it_lacks(found):
    findings, absent = found(text="def train(run):\n    return 0.5\n")
    assert list(findings) == ["result", "laps", "seeds", "time"]
    assert absent["gradients"] == "no optimizer of torch made a step"


def test_nothing_is_watched_afterwards(found):
    found()
    assert not module._global_forward_pre_hooks
    assert not module._global_forward_hooks
    assert not optimizer._global_optimizer_pre_hooks
    assert not optimizer._global_optimizer_post_hooks
