import pytest
import torch
from torch import nn

from pipelines import models
from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.optim.scheduled_optimizer import ScheduledOptimizer
from pipelines.recipe import RecipeError, load, techniques
from pipelines.seeds import seed_of_member
from pipelines.techniques.ensemble import Ensemble, ends, log_mean_probability, restart
from pipelines.train import run_trial, set_up
from tests.pipelines.techniques.test_semi_supervised import TwiceAsMuch
from tests.pipelines.techniques.test_swa import PLAIN, Watch, equal, needs_bfloat16, trial_of


def test_the_mean_is_that_of_the_probabilities():
    logits = torch.randn(3, 5, 4) * 10
    expected = torch.stack([one.softmax(1) for one in logits]).mean(0)
    torch.testing.assert_close(log_mean_probability(logits).exp(), expected)
    assert log_mean_probability(logits.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(("steps", "members"), [(20, 4), (20, 3), (100, 7)])
def test_the_steps_are_shared_equally(steps, members):
    last = ends(steps, members)
    shares = [end - start for start, end in zip([0, *last], last, strict=False)]
    assert last[-1] == steps
    assert max(shares) - min(shares) <= 1


class Snapshots(Watch):
    """Keeps also what the evaluation would predict of some images."""

    def __init__(self, images):
        super().__init__()
        self.images, self.predicted = images, []

    def evaluation_start(self, state):
        super().evaluation_start(state)
        state.network.eval()
        with torch.no_grad():
            self.predicted.append(state.predict(self.images.to(next(state.network.parameters()).dtype)).clone())
        state.network.train()


def ensemble_of(dataset, restart, *overrides):
    """A trial of two members over four epochs of five steps."""
    images = torch.randn(6, 3, 32, 32)
    watch = Snapshots(images)
    config = f"techniques.ensemble={{members: 2, restart: {restart}}}"
    setup = set_up(load("cifar10/davidnet-10", [*PLAIN, config, *overrides]), dataset, World())
    run_trial(setup, 0, observers=[watch])
    return watch, setup


def predictions(setup, weights, images):
    """Of a network with these weights and statistics."""
    floats = [tensor for tensor in setup.network.state_dict().values() if tensor.is_floating_point()]
    with torch.no_grad():
        for tensor, weight in zip(floats, weights, strict=True):
            tensor.copy_(weight)
        return setup.network.eval()(images.to(setup.network.head.weight.dtype))


@pytest.mark.parametrize("precision", ["float32", pytest.param("half", marks=needs_bfloat16)])
def test_snapshots_are_evaluated_together_and_the_training_goes_on(coloured, precision):
    watch, setup = ensemble_of(coloured, "warm", f"precision={precision}")
    _, without, _ = trial_of(coloured, f"precision={precision}")
    assert all(equal(one, other) for one, other in zip(watch.trained, without.trained, strict=True))
    assert all(equal(one, other) for one, other in zip(watch.back, without.trained[4::5], strict=True))
    first, second = (predictions(setup, watch.trained[step], watch.images).float() for step in (9, 19))
    alone = predictions(setup, watch.trained[4], watch.images)
    assert torch.equal(watch.predicted[0].float(), alone.float())
    for predicted, members in zip(watch.predicted[1:], ([first], [first], [first, second]), strict=True):
        torch.testing.assert_close(predicted, log_mean_probability(torch.stack(members)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", pytest.param("half", marks=needs_bfloat16)])
@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_a_fresh_member_starts_as_a_trial_of_its_own_seed(coloured, precision, optimizer):
    """Its first weights, to the whitening that all share, are those of `initialize`, without any momentum."""
    muon = ["optimizer={name: muon, lr: 0.1, bias_lr: 0.1, head_lr: 0.1, renormalize_every: 3}"]
    overrides = [f"precision={precision}", *(muon if optimizer == "muon" else [])]
    states = []

    class Restarts:
        def step_end(self, state):
            if state.step == 10:
                states.append([len(one.state) for one in state.optimizer.optimizers])
                self.after = [tensor.clone() for tensor in state.optimizer.master_tensors(state.network)]

    restarts = Restarts()
    chosen = load("cifar10/davidnet-10", [*PLAIN, *overrides, "techniques.ensemble={members: 2, restart: fresh}"])
    setup = set_up(chosen, coloured, World())
    run_trial(setup, 0, observers=[restarts])
    assert states == [[0] * (2 if optimizer == "muon" else 1)]
    (layer,) = models.whitening_layers(setup.network)
    whitening = layer.weight.clone()
    models.initialize(setup.network, seed_of_member(0, 1), chosen.initialization)
    layer.weight.data.copy_(whitening)
    fresh = [tensor for tensor in setup.network.state_dict().values() if tensor.is_floating_point()]
    assert all(torch.equal(one, other.float()) for one, other in zip(restarts.after, fresh, strict=True))


def test_the_first_fresh_member_is_the_plain_training(coloured):
    watch, _ = ensemble_of(coloured, "fresh")
    _, without, _ = trial_of(coloured)
    assert all(equal(one, other) for one, other in zip(watch.trained[:9], without.trained[:9], strict=True))
    assert not equal(watch.trained[10], without.trained[10])
    assert equal(watch.back[-1], watch.trained[-1])


def test_members_whose_logits_share_their_memory():
    """As those of a network with CUDA graphs do."""
    memory, logits = torch.empty(4, 3), torch.randn(2, 4, 3)
    outputs = iter(logits)
    state = State(None, nn.Module(), lambda images: memory.copy_(next(outputs)), ScheduledOptimizer([], {}), 0, 2, 1)
    ensemble = Ensemble(techniques.Ensemble(members=2))
    ensemble.trial_start(state)
    for state.step in (1, 2):
        ensemble.step_end(state)
    ensemble.evaluation_start(state)
    assert torch.equal(state.predict(torch.empty(4)), log_mean_probability(logits))


def test_members_have_each_a_seed_of_their_own():
    seeds = [seed_of_member(seed, member) for seed in range(5) for member in range(1, 5)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["techniques.ensemble={members: 30}"], "epochs=20 is less: set epochs=30 or more"),
        (["techniques={ensemble: {}, lookahead: {}}"], "lookahead moves the weights back"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides, message):
    with pytest.raises(RecipeError, match=message):
        load("digits/quick", overrides)


def test_what_acts_once_in_a_training_is_refused_with_fresh_members():
    plain = ["techniques.lookahead=null", "epochs=10"]
    load("cifar10/airbench94", [*plain, "techniques.ensemble={restart: warm}"])
    with pytest.raises(RecipeError, match="techniques.whitening_bias acts once in a training"):
        load("cifar10/airbench94", [*plain, "techniques.ensemble={restart: fresh}"])


def test_the_statistics_of_a_member_are_the_mean_over_the_processes():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    optimizer = ScheduledOptimizer([], {})
    state = State(None, network, network, optimizer, seed=0, steps=2, steps_per_epoch=1, world=TwiceAsMuch(0, 2))
    technique = Ensemble(techniques.Ensemble(members=2))
    technique.trial_start(state)
    network(torch.randn(4, 1, 8, 8))
    alone = network[1].running_var.clone()
    state.step = 1
    technique.step_end(state)
    names = [name for name, tensor in network.state_dict().items() if tensor.is_floating_point()]
    assert torch.equal(technique._members[0][names.index("1.running_var")], 2 * alone)


def test_after_a_restart_the_processes_have_the_same_weights_and_other_dropout():
    weights, drawn = [], []
    for rank in (0, 1, 2):
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2))
        network.head = network[2]
        optimizer = ScheduledOptimizer([], {})
        chosen, world = load("digits/quick"), World(rank, 3)
        restart(State(chosen, network, network, optimizer, seed=0, steps=2, steps_per_epoch=1, world=world), seed=7)
        weights.append([parameter.detach().clone() for parameter in network.parameters()])
        drawn.append(torch.rand(1).item())
        if rank == 0:  # as a single process
            models.initialize(network, 7, chosen.initialization)
            assert drawn[0] == torch.rand(1).item()
    assert equal(weights[0], weights[1])
    assert equal(weights[0], weights[2])
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(
    "technique",
    [
        "pretrained: {}",
        "masked_image: {}",
        "contrastive: {views: {}}",
        "growing_batch: {epochs: [1], batches: [2]}",  # nor are gradients of one member gathered for the next
    ],
)
def test_what_acts_on_the_first_member_alone_is_refused_with_fresh_ones(technique):
    with pytest.raises(RecipeError, match=r"acts once in a training, and techniques\.ensemble\.restart=fresh"):
        load("digits/quick", [f"techniques={{{technique}, ensemble: {{restart: fresh}}}}"])
