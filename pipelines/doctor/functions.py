"""Checks of a function of the user's own: what one epoch of it shows from outside.

Paceline sees the run that the function is given, and through the global hooks of PyTorch its networks and optimizers.
It does not see the images, the labels and the loss.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.optim import Optimizer, optimizer

from pipelines.doctor import checks
from pipelines.doctor.findings import Finding
from pipelines.doctor.weights import relative
from pipelines.trial import Trial

NOT_SEEN = {
    "pixels": "the function feeds its network itself",
    "labels": "the function feeds its network itself",
    "initial loss": "the function computes its loss itself",
    "softmax": "the function computes its loss itself",
    "memorise": "the function trains on its own images alone",
    "learning rate": "the function sets the rates of its optimizer itself",
}
"""checks of recipes that a function does not get, and why"""
NO_STEP = "no optimizer of torch made a step"
WATCHED_STEPS = 10
"""steps of an optimizer within which each of its parameters should get a gradient and move: a last layer or branches
that start at zero keep others waiting for a step or two, and a warm-up may begin with a rate of 0"""
MUCH_OUTSIDE = 0.05
"""share of a trial's time outside its laps that is suspicious"""


@dataclass(frozen=True)
class FunctionExamination:
    """What was found, and which checks there are not."""

    findings: tuple[Finding, ...]
    absent: Mapping[str, str]
    """by check: why it was not made"""


@dataclass
class Watched:
    """What one trial did with torch."""

    modes: dict[bool, set[bool]] = field(default_factory=dict)
    """whether its networks were in training mode (the values) while gradients were recorded (the keys)"""
    has_two_modes: bool = False
    """whether a network has layers that do something else in evaluation, such as dropout"""
    names: dict[Tensor, str] = field(default_factory=dict)
    """of the trained parameters, as their network calls them"""
    gradients: dict[Tensor, float | None] = field(default_factory=dict)
    """by parameter of an optimizer: norm at the first step at which it is not 0, among WATCHED_STEPS; None: it has no
    gradient"""
    updates: dict[Tensor, float] = field(default_factory=dict)
    """of matrices and filters: the largest update of these steps, as `relative` has it"""

    def name(self, parameter: Tensor) -> str:
        """As its network calls it."""
        shape = "x".join(map(str, parameter.shape))
        return self.names.get(parameter, f"a parameter of {shape}").replace("_orig_mod.", "").removeprefix("module.")

    def weights(self) -> tuple[float, ...]:
        """A number for each trained parameter as it is now: equal for equal weights."""
        return tuple(parameter.detach().double().sum().item() for parameter in self.gradients)


@contextlib.contextmanager
def watched() -> Iterator[Watched]:
    """Watch every network and optimizer until the block ends."""
    watch, depth = Watched(), 0
    before: dict[Tensor, Tensor] = {}
    steps_of: Counter[Optimizer] = Counter()

    def called(network: nn.Module, inputs: object) -> None:
        nonlocal depth
        if torch.compiler.is_compiling():
            return
        depth += 1
        if depth == 1 and (trained := {one: name for name, one in network.named_parameters() if one.requires_grad}):
            watch.names |= trained
            watch.modes.setdefault(torch.is_grad_enabled(), set()).add(network.training)
            watch.has_two_modes |= any(map(checks.has_two_modes, network.modules()))

    def returned(network: nn.Module, inputs: object, outputs: object) -> None:
        nonlocal depth
        if not torch.compiler.is_compiling():
            depth -= 1

    def steps(stepping: Optimizer, *arguments: object) -> None:
        steps_of[stepping] += 1
        if steps_of[stepping] > WATCHED_STEPS:
            return
        for parameter in parameters_of(stepping):
            if not watch.gradients.get(parameter):
                watch.gradients[parameter] = None if parameter.grad is None else parameter.grad.float().norm().item()
            if parameter.ndim > 1:
                before[parameter] = parameter.detach().clone()

    def stepped(stepping: Optimizer, *arguments: object) -> None:
        for parameter in parameters_of(stepping):
            if (old := before.pop(parameter, None)) is not None:
                largest = watch.updates.get(parameter, 0.0)
                if math.isfinite(largest):  # NaN stays
                    watch.updates[parameter] = max(relative(parameter.detach() - old, old), largest)

    handles = (
        modules.register_module_forward_pre_hook(called),
        modules.register_module_forward_hook(returned, always_call=True),
        optimizer.register_optimizer_step_pre_hook(steps),
        optimizer.register_optimizer_step_post_hook(stepped),
    )
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def parameters_of(stepping: Optimizer) -> list[Tensor]:
    """All that it trains."""
    return [one for group in stepping.param_groups for one in group["params"] if one.requires_grad]


def examine_function(train: Callable[[int], Trial]) -> FunctionExamination:
    """Train with the seeds 0, 1 and 0 again, an epoch each, and judge what was seen. Raises what `train` raises."""
    trials, weights = [], []
    for seed in (0, 1, 0):
        with watched() as watch:
            trials.append(train(seed))
        weights.append(watch.weights())
        if len(trials) == 1:
            first = watch
    findings = [
        check_result(trials[0]),
        check_laps(trials[0]),
        check_seeds([what_came_out(*one) for one in zip(trials, weights, strict=True)]),
    ]
    absent = dict(NOT_SEEN)
    if first.gradients:
        findings += [check_modes(first), check_gradients(first), check_updates(first)]
    else:
        absent |= dict.fromkeys(("modes", "gradients", "updates"), NO_STEP)
    return FunctionExamination((*findings, check_time(trials[0])), absent)


def check_result(trial: Trial) -> Finding:
    """An accuracy is reported, and losses are numbers."""
    check = "result"
    if trial.outcome == "diverged":
        return Finding(check, "broken", str(trial.reason))
    if not trial.epochs:
        sentence = f"accuracy {trial.accuracy:.2%}, and no epoch is reported: no time to target (run.evaluated)"
        return Finding(check, "suspicious", sentence)
    return Finding(check, "ok", f"accuracy {trial.accuracy:.2%} after one epoch")


def check_laps(trial: Trial) -> Finding:
    """Nearly all of the time is in laps, and each reported epoch has its lap `train`."""
    check, seconds = "laps", float(str(trial.notes["seconds"]))
    share = float(str(trial.notes["seconds_outside_laps"])) / seconds if seconds else 0.0
    timed = {lap.epoch for lap in trial.laps if lap.name == "train"}
    if lacking := [result.epoch for result in trial.epochs if result.epoch not in timed]:
        sentence = f"epoch {lacking[0]} has no run.lap('train', {lacking[0]}): there is no time to target"
        return Finding(check, "suspicious", sentence)
    names = ", ".join(dict.fromkeys(lap.name for lap in trial.laps))
    read = f"{names}; {share:.0%} of the time is outside"
    return Finding(check, "suspicious" if share > MUCH_OUTSIDE else "ok", read)


def what_came_out(trial: Trial, weights: tuple[float, ...]) -> tuple[object, ...]:
    """What two trials of one seed have in common."""
    return trial.accuracy, tuple((one.accuracy, one.train_loss) for one in trial.epochs), weights


def check_seeds(came_out: list[tuple[object, ...]]) -> Finding:
    """Another seed is another trial, and the same seed the same one, whatever was trained in between."""
    check = "seeds"
    first, other, again = came_out
    if first == other == again:
        sentence = "seeds 0 and 1 train the same weights: the file sets a seed of its own, or draws nothing"
        return Finding(check, "suspicious", sentence)
    if first != again:
        sentence = "seed 0 trains other weights the second time: it is not deterministic, or a trial leaves something"
        return Finding(check, "suspicious", sentence)
    return Finding(check, "ok", "seed 0 twice is the same trial, seed 1 another one")


def check_modes(watch: Watched) -> Finding:
    """Networks train in training mode, and are evaluated in the other."""
    check = "modes"
    if not watch.has_two_modes:
        return Finding(check, "ok", "the network has no layer in which they would differ")
    if watch.modes.get(True) == {False}:
        return Finding(check, "broken", "the network is trained in evaluation mode")
    if watch.modes.get(False) == {True}:
        return Finding(check, "broken", "the network is evaluated in training mode: network.eval() is forgotten")
    if True in watch.modes.get(False, ()):
        return Finding(check, "suspicious", "without gradients the network is called in training mode too")
    if False not in watch.modes:
        return Finding(check, "ok", "trained in training mode; never called under torch.no_grad()")
    return Finding(check, "ok", "trained in training mode, evaluated in evaluation mode")


def check_gradients(watch: Watched) -> Finding:
    """Every parameter gets a gradient in the first steps, and each is a number."""
    check = "gradients"
    strange = [one for one, norm in watch.gradients.items() if norm is not None and not math.isfinite(norm)]
    if strange:
        return Finding(check, "broken", f"that of {watch.name(strange[0])} is no number")
    dead = [one for one, norm in watch.gradients.items() if not norm]
    if len(dead) == len(watch.gradients):
        return Finding(check, "broken", "no parameter of an optimizer gets one")
    if dead:
        count = f"one of {len(dead)} of {len(watch.gradients)}"
        sentence = f"{watch.name(dead[0])} gets none in the first {WATCHED_STEPS} steps, {count}"
        return Finding(check, "suspicious", sentence)
    return Finding(check, "ok", f"all {len(watch.gradients)} parameters get one in the first {WATCHED_STEPS} steps")


def check_updates(watch: Watched) -> Finding:
    """As of a recipe. A warm-up may begin with a rate of 0, and go on for longer than was watched."""
    updates = {watch.name(one): share for one, share in watch.updates.items()}
    if updates and not any(updates.values()):
        return Finding("updates", "suspicious", f"none in the first {WATCHED_STEPS} steps: their learning rate is 0")
    return checks.check_updates(updates)


def check_time(trial: Trial) -> Finding:
    """How long the shortest trial takes."""
    return Finding("time", "ok", f"a trial of one epoch takes {float(str(trial.notes['seconds'])):.3g} s")
