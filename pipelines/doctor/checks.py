"""Checks of a recipe's data, network and modes: from what a short trial showed to a verdict and a sentence."""

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import chisquare
from torch import Tensor, nn

from pipelines.data.preprocess import network_inputs
from pipelines.doctor.findings import Finding
from pipelines.doctor.fitting import first_gradients
from pipelines.doctor.short_trial import Observed, in_place
from pipelines.doctor.weights import relative, trained_weights
from pipelines.losses import make_loss
from pipelines.models.dropout import DropConnect, Dropout
from pipelines.strategies.strategy import kept
from pipelines.train import TrainingSetup

PROBED = 64
"""images that are put through the network for a check"""
MATCHED = 30
"""images of a class, among those that are fed and in the evaluation each, from which on the two are compared"""
CLEAR = 2.5
"""standard errors by which classes must look like others to count as confused: more than chance gives with 100 images a
class of digits, MNIST and CIFAR-10, and less than labels that are shifted by a class (a test)"""

RARE = 1e-3
"""probability below which chance does not explain how unequal the classes are"""


def check_pixels(setup: TrainingSetup, observed: Observed) -> Finding:
    """Images are normalised by the training set's own mean and deviation: what is fed should be near 0 and 1."""
    images = observed.images.float()
    means, stds = images.mean((0, 2, 3)), images.std((0, 2, 3))
    read = f"mean {_row(means)}, standard deviation {_row(stds)}, {images.amin():.2f} to {images.amax():.2f}"
    if not images.isfinite().all() or (stds == 0).any():
        return Finding("pixels", "broken", f"{read}: nothing can be learnt from these")
    if means.abs().amax() > 0.5 or stds.amin() < 0.5 or stds.amax() > 2:
        return Finding("pixels", "suspicious", f"{read}: not what normalised images look like")
    return Finding("pixels", "ok", read)


def check_labels(setup: TrainingSetup, observed: Observed) -> Finding:
    """Labels name classes, and mean the same in what is fed and in the images of the evaluation."""
    names = setup.dataset.class_names
    labels, test_labels = observed.labels.cpu().numpy(), setup.dataset.test_labels
    strange = sorted({*labels.tolist(), *test_labels.tolist()} - set(range(len(names))))
    if strange:
        return Finding("labels", "broken", f"labels {strange} name none of the {len(names)} classes")
    counts = np.bincount(labels, minlength=len(names))
    read = f"{len(labels)} images fed, {counts.min()} to {counts.max()} a class"
    test_counts = np.bincount(test_labels, minlength=len(names))
    matched = np.flatnonzero(np.minimum(counts, test_counts) >= MATCHED).tolist()
    fed, tests = observed.images.float().cpu().flatten(1).numpy(), _tests_as_fed(setup, observed).flatten(1).numpy()
    wrong = confused({n: fed[labels == n] for n in matched}, {n: tests[test_labels == n] for n in matched})
    if wrong:
        listed = ", ".join(f"{names[row]} looks like {names[column]}" for row, column in wrong[:3])
        sentence = f"in the training {listed} of the evaluation: one of the two label mappings is wrong"
        return Finding("labels", "broken", sentence)
    if counts.min() * 5 < counts.max() and chisquare(counts).pvalue < RARE:  # few images are never shared equally
        return Finding("labels", "suspicious", f"{read}: far from equal")
    compared = f"of {len(matched)} classes with {MATCHED} images or more none looks like another in the evaluation"
    return Finding("labels", "ok", f"{read}; {compared}")


def confused(fed: Mapping[int, np.ndarray], tests: Mapping[int, np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of classes: images that are fed as the first look like those of the second in the evaluation.

    fed, tests: (images, pixels) by class. The mean images are matched one to one at the lowest cost (Kuhn 1955). That
    must be each class with itself, but for classes so alike that chance decides: those that are matched in a circle
    count if its gain over each with itself is CLEAR times its standard errors.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if not fed:
        return []
    classes = list(fed)
    means = (np.stack([images.mean(0) for images in side.values()]) for side in (fed, tests))
    distances = cdist(*means, "sqeuclidean")
    if not np.isfinite(distances).all():  # `check_pixels` says so
        return []
    match = {classes[row]: classes[column] for row, column in zip(*linear_sum_assignment(distances), strict=True)}
    found = []
    for circle in circles(match):
        gains, errors = zip(*(gain(fed[own], tests[own], tests[match[own]]) for own in circle), strict=True)
        if sum(gains) > CLEAR * sum(errors):  # not their root sum of squares: the match is chosen for its gain
            found += [(own, match[own]) for own in circle]
    return sorted(found)


def circles(match: Mapping[int, int]) -> list[list[int]]:
    """The circles of a one-to-one match in which one leads to the next, but for those of one alone."""
    left, found = dict(match), []
    while left:
        one, circle = next(iter(left)), []
        while one in left:
            circle.append(one)
            one = left.pop(one)
        found.append(circle)
    return [circle for circle in found if len(circle) > 1]


def gain(images: np.ndarray, own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """How much nearer images lie to the mean of others than to that of their own class, and its standard error: their
    places on the line from one mean to the other, from the middle on. All are (images, pixels)."""
    ends = own.mean(0), other.mean(0)
    places = (images - (ends[0] + ends[1]) / 2) @ (ends[1] - ends[0])
    error = places.std() * math.sqrt(1 / len(images) + (1 / len(own) + 1 / len(other)) / 4)
    return float(places.mean()), float(error)


def check_initial_loss(setup: TrainingSetup, observed: Observed) -> Finding:
    """Before any training, without weight decay, cross-entropy is about log(classes): the network knows nothing."""
    config = setup.recipe.loss.model_copy(update={"reduction": "mean"})
    loss = make_loss(config)(_logits(setup, observed, training=True), observed.labels[:PROBED]).item()
    expected = math.log(len(setup.dataset.class_names))
    read = f"{loss:.3f}, where log({len(setup.dataset.class_names)}) is {expected:.3f}"
    if not math.isfinite(loss) or loss > 3 * expected or loss < 0.5 * expected:
        return Finding("initial loss", "broken", read)
    return Finding("initial loss", "ok" if abs(loss / expected - 1) < 0.25 else "suspicious", read)


def check_logits(setup: TrainingSetup, observed: Observed) -> Finding:
    """The loss applies softmax itself: what it gets must be logits, not probabilities."""
    logits = _logits(setup, observed, training=True)
    if not logits.isfinite().all():
        return Finding("softmax", "broken", "the network's outputs are no numbers")
    sums = logits.sum(1)
    if (logits >= 0).all() and (sums - sums.mean()).abs().amax() < 0.02 * sums.mean():
        return Finding(
            "softmax", "broken", "applied twice: the network's outputs are probabilities, and the loss wants logits"
        )
    if (logits <= 0).all() and logits.logsumexp(1).abs().amax() < 0.02:
        return Finding(
            "softmax", "suspicious", "the network's outputs are log-probabilities: the loss does that itself"
        )
    return Finding(
        "softmax", "ok", f"once: the network's outputs are logits, {logits.amin():.2f} to {logits.amax():.2f}"
    )


def check_modes(setup: TrainingSetup, observed: Observed) -> Finding:
    """In evaluation an image's logits depend on it alone and nothing is updated, and the trial evaluates so."""
    check = "modes"
    if observed.modes.get(True, set()) - {True}:
        return Finding(check, "broken", "the trial trains the network in evaluation mode")
    if observed.modes.get(False, set()) - {False}:
        return Finding(check, "broken", "the trial evaluates the network in training mode: network.eval() is forgotten")
    has_modes = any(map(has_two_modes, setup.network.modules()))
    weights = observed.start
    differs = _differs(setup, observed, weights)
    if has_modes and not differs and observed.trial.outcome != "diverged":
        weights = observed.end  # a head or branches that start at zero hide what the layers before them do
        differs = _differs(setup, observed, weights)
    setup.network.load_state_dict(weights)
    once, again = (_logits(setup, observed, training=False) for _ in range(2))
    count = min(len(once), 16)
    parts = [part for part in (slice(0, count // 3), slice(count // 3, count)) if part.stop > part.start]
    halves = torch.cat([_logits(setup, observed, training=False, part=part) for part in parts])
    if not once.isfinite().all():
        return Finding(check, "broken", "in evaluation mode the network's outputs are no numbers")
    spread = once.std().item()
    if (once - again).abs().mean().item() > 0.1 * spread:
        return Finding(check, "broken", "evaluation mode draws at random: two looks at the same images differ")
    if (once[: len(halves)] - halves).abs().mean().item() > 0.1 * spread:
        sentence = "evaluation mode uses the other images of the batch: an image's logits change with its company"
        return Finding(check, "broken", sentence)
    now = setup.network.state_dict()
    moved = [
        name for name, _ in setup.network.named_buffers() if name in now and not torch.equal(now[name], weights[name])
    ]
    if moved:
        return Finding(check, "broken", f"evaluation mode updates {moved[0]}")
    setup.network.load_state_dict(observed.start)
    if has_modes and not differs:
        return Finding(
            check, "suspicious", "norm or dropout layers are there, but training and evaluation mode do the same"
        )
    return Finding(check, "ok", "they differ" if differs else "the network has no layer in which they would differ")


def _differs(setup: TrainingSetup, observed: Observed, weights: Mapping[str, Tensor]) -> bool:
    """Whether training mode gives other logits than evaluation mode at these weights."""
    setup.network.load_state_dict(weights)
    evaluated = _logits(setup, observed, training=False)
    trained = _logits(setup, observed, training=True)
    return (trained - evaluated).abs().mean().item() > 1e-3 * evaluated.std().item()


def has_two_modes(module: nn.Module) -> bool:
    """Whether it does something in training, as it is now, that it must not do in evaluation."""
    if isinstance(module, Dropout):
        return module.keep.item() < 1
    return isinstance(module, torch.nn.modules.batchnorm._BatchNorm | torch.nn.modules.dropout._DropoutNd | DropConnect)


def check_gradients(setup: TrainingSetup, observed: Observed) -> Finding:
    """Every layer gets a gradient, neither vanishing nor exploding, and the logits depend on the image.

    A head or residual branches that start at zero keep the gradients of other layers at zero for a step or two, and
    some techniques train a part of the network. A layer counts as dead if it still gets none in a plain training.
    """
    check = "gradients"
    strange = [name for name, gradient in observed.gradients.items() if not gradient.isfinite().all()]
    if strange:
        return Finding(check, "broken", f"that of {strange[0]} is no number")
    norms = {name: norm for name, norm in relative_gradients(observed).items() if norm}
    late = [name for name in trained_weights(setup) if name not in norms]
    setup.network.load_state_dict(observed.start)
    is_blind = _is_blind(setup, observed)
    found = first_gradients(setup, observed, late) if late or is_blind else {}
    dead = [name for name in late if name not in found]
    if dead:
        return Finding(
            check, "broken", f"{dead[0]} and {len(dead) - 1} more layers get none: the network is dead there"
        )
    if is_blind and _is_blind(setup, observed):  # also after the steps of `first_gradients`
        return Finding(check, "broken", "the logits are the same for every image: the network is dead")
    if not norms:
        return Finding(check, "broken", "no layer gets one at the trial's first step")
    low, high = min(norms, key=norms.__getitem__), max(norms, key=norms.__getitem__)
    read = f"norm over that of the weights: {norms[low]:.1e} ({low}) to {norms[high]:.1e} ({high})"
    if norms[high] > 1e5 * norms[low]:
        return Finding(check, "suspicious", f"{read}: vanishing or exploding on the way")
    if late:
        steps = max(found.values())
        when = f"after {steps} step{'s' * (steps != 1)}" if steps else "only without the recipe's techniques"
        read += f"; {late[0]} and {len(late) - 1} more layers get one {when}"
    return Finding(check, "ok", read)


def _is_blind(setup: TrainingSetup, observed: Observed) -> bool:
    """Whether the logits are the same for every image."""
    logits = _logits(setup, observed, training=True)
    return bool(len(logits) > 1 and (logits.std(0) <= 1e-6 * logits.abs().amax()).all())


def relative_gradients(observed: Observed) -> dict[str, float]:
    """The first step's gradient of each matrix and filter, as `relative` has it."""
    return {
        name: relative(gradient, observed.start[name])
        for name, gradient in observed.gradients.items()
        if gradient.ndim > 1
    }


def check_updates(updates: dict[str, float]) -> Finding:
    """One step at the recipe's rate should change a layer's weights by about a thousandth of their norm (Karpathy)."""
    check = "updates"
    if not updates:
        return Finding(check, "broken", "none could be measured: the training broke down below the recipe's rate")
    low, high = min(updates, key=updates.__getitem__), max(updates, key=updates.__getitem__)
    read = f"a step moves a layer by {updates[low]:.1e} ({low}) to {updates[high]:.1e} ({high}) of its norm"
    if not all(map(math.isfinite, updates.values())) or updates[high] > 1 or updates[low] == 0:
        return Finding(check, "broken", f"{read}, where the rule of thumb is 1e-3")
    if updates[high] > 0.3 or updates[low] < 1e-6:
        return Finding(check, "suspicious", f"{read}, where the rule of thumb is 1e-3")
    return Finding(check, "ok", f"{read}; the rule of thumb is 1e-3")


@torch.no_grad()
def _logits(setup: TrainingSetup, observed: Observed, *, training: bool, part: slice = slice(0, PROBED)) -> Tensor:
    """(n, classes) float32 outputs for the first images that were fed, in one of the two modes."""
    setup.network.train(training)
    logits = kept(in_place(setup).forward(observed.images[part]))
    setup.network.train()
    return logits


def _tests_as_fed(setup: TrainingSetup, observed: Observed) -> Tensor:
    """(N, channels, height, width) images of the evaluation on the host, in the size of what is fed: a recipe may begin
    with small images."""
    tests = network_inputs(torch.from_numpy(setup.dataset.test_images), setup.dataset, torch.float32)
    resolution, size = setup.recipe.augment.resolution, observed.images.shape[2:]
    if resolution and (side := resolution.crop(0)):
        top, left = ((whole - side) // 2 for whole in tests.shape[2:])
        tests = tests[:, :, top : top + side, left : left + side]
    return tests if tests.shape[2:] == size else F.interpolate(tests, size, mode="bilinear")


def _row(values: Tensor) -> str:
    return ", ".join(f"{value:.2f}" for value in values.tolist())
