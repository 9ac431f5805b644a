"""What every technique of the training loop keeps to: seeds, warm-up, trials in a row, compilation, processes."""

from dataclasses import replace

import pytest
import torch

from pipelines.data import split
from pipelines.distributed.process_group import World
from pipelines.recipe import load
from pipelines.train import run_trial, set_up
from pipelines.warmup import warm_up
from tests.pipelines.calling import calling
from tests.pipelines.distributed.test_process_group import in_processes
from tests.pipelines.techniques.repeated import graphs
from tests.pipelines.techniques.test_swa import PLAIN
from tests.pipelines.test_trials_in_a_row import outcome, same

LINES = {
    "accumulation": "accumulation=2",
    "mixup": "techniques.mixup={}",
    "cutmix": "techniques.cutmix={size: 3}",
    "penalty": "techniques.penalty={l1: 1e-3}",
    "gradient_clipping": "techniques.gradient_clipping={norm: 0.1}",
    "growing_batch": "techniques.growing_batch={epochs: [1], batches: [2]}",
    "early_stopping": "techniques.early_stopping={patience: 1}",
    "swa": "techniques.swa={}",
    "snapshots": "techniques.ensemble={members: 2}",
    "fresh_members": "techniques.ensemble={members: 2, restart: fresh}",
}
"""The one line that switches each on."""
QUICKLY_COMPILED = ["model=null", "model={name: convnet, widths: [4], norm: {}}"]
"""with the layers whose graphs techniques can change: a norm, which trains and evaluates differently"""


def setup_for(dataset, *overrides, world=None):
    chosen = load("cifar10/davidnet-10", [*PLAIN, "data.validation=0.2", *overrides])
    return set_up(chosen, split.select(dataset, chosen.data), world or World())


def trained(setup, seed):
    trial = run_trial(setup, seed)
    return outcome(trial, setup), trial.notes


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_nothing_leaks_from_warm_up_or_another_trial(coloured, line):
    used, fresh = (setup_for(coloured, "epochs=2", line) for _ in range(2))
    warm_up(used)
    run_trial(used, seed=0)
    (again, notes), (first, other_notes) = trained(used, 1), trained(fresh, 1)
    equal = same(again, first)
    assert equal
    assert notes == other_notes


def test_each_changes_the_trial(coloured):
    """Those that change what is trained; the others' own tests say what they evaluate, or when they stop."""
    plain, _ = trained(setup_for(coloured, "epochs=2"), 0)
    for name in ("mixup", "cutmix", "penalty", "gradient_clipping", "growing_batch", "fresh_members"):
        other, _ = trained(setup_for(coloured, "epochs=2", LINES[name]), 0)
        differs = not same(plain, other)
        assert differs, name


def test_warm_up_sees_none_of_the_held_out_images(coloured):
    setup = setup_for(coloured, LINES["early_stopping"])
    dark = replace(setup.dataset, validation_images=0 * setup.dataset.validation_images)
    network, darkest = setup.network, []
    forward = lambda images: darkest.append(images.flatten(1).float().var(1).min()) or network(images)  # noqa: E731
    warm_up(calling(setup, forward, dataset=dark))
    assert min(darkest) > 0.1


@pytest.mark.parametrize("name", ["accumulation", "mixup", "early_stopping", "swa", "fresh_members"])
def test_a_compiled_network_is_compiled_in_warm_up_alone(coloured, without_inductor, name):
    overrides = [*QUICKLY_COMPILED, "precision=float32", LINES[name]]
    setup = setup_for(coloured, *overrides, "compile=true", "evaluation.batch_size=7")
    before = graphs()
    warm_up(setup)
    assert graphs() > before
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled = run_trial(setup, seed=0)
    eager = run_trial(setup_for(coloured, *overrides), seed=0)
    losses, expected = ([result.train_loss for result in trial.epochs] for trial in (compiled, eager))
    assert losses == pytest.approx(expected, rel=0.02)


def train_each(world, dataset, lines):
    results = []
    for line in lines:
        setup = setup_for(dataset, "precision=float32", line, world=world)
        trial = run_trial(setup, seed=3)
        parameters = {name: parameter.detach().clone() for name, parameter in setup.network.named_parameters()}
        results.append((parameters, [result.accuracy for result in trial.epochs], trial.notes, trial.steps))
    return results


@pytest.mark.slow
def test_processes_agree(tmp_path, coloured):
    """On the weights, on the accuracies and on when to stop."""
    for first, second in zip(*in_processes(tmp_path, train_each, coloured, [*LINES.values()]), strict=True):
        assert first[1:] == second[1:]
        for name, parameter in first[0].items():
            assert torch.equal(parameter, second[0][name])
