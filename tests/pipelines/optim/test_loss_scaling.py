import pytest
import torch
from torch import nn

from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.losses import make_loss
from pipelines.optim.optimizers import make_optimizer
from pipelines.optim.scheduled_optimizer import GradScalerOptimizer, MasterWeightOptimizer
from pipelines.train import run_trial, set_up

BATCH = 8192
LARS = "optimizer={name: lars, lr: 1, weight_decay: 0.01}"
LAMB = "optimizer={name: lamb, lr: 0.1, weight_decay: 0.01}"
SGD = "optimizer={name: sgd, lr: 0.5, momentum: 0, nesterov: false, weight_decay: 0.01}"


def load(*overrides):
    return recipe.load("digits/quick", ["schedule={name: constant}", *overrides])


def network_of(dtype):
    """Two layers with a norm in float32 between them, as under `precision: half`; small gradients."""
    torch.manual_seed(0)
    network = nn.ModuleList([nn.Linear(16, 12, bias=False), nn.BatchNorm1d(12), nn.Linear(12, 10)])
    with torch.no_grad():
        network[2].weight *= 0.01
    for layer in (network[0], network[2]):
        layer.half().to(dtype)  # the same weights in both
    return network


def loss_of(network, chosen, dtype):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 16, generator=generator).half()  # the same numbers in both
    labels = torch.randint(10, (BATCH,), generator=generator)
    first, norm, last = network
    return make_loss(chosen.loss)(last(norm(first(images.to(dtype)).float()).to(dtype)), labels)


def optimizer_of(network, chosen):
    return make_optimizer(network, chosen, local_batch_size=BATCH, steps=9, steps_per_epoch=1)


def after_a_step(dtype, *overrides):
    """What a step changes in the weights, and the gradients of them that the optimizer had."""
    network, chosen = network_of(dtype), load(*overrides)
    before = [parameter.detach().float().clone() for parameter in network.parameters()]
    optimizer = optimizer_of(network, chosen)
    for one in optimizer.optimizers:
        for group in one.param_groups:
            if any(parameter.dtype == torch.float16 for parameter in group["params"]):
                # torch 2.13's fused SGD on a CPU leaves float16 weights as they are
                group.update(fused=False, foreach=True)
    optimizer.backward(loss_of(network, chosen, dtype))
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    optimizer.step(0)
    trained = optimizer.master_tensors(network)
    names = [name for name, tensor in network.state_dict().items() if tensor.is_floating_point()]
    after = {name: tensor for name, tensor in zip(names, trained, strict=True) if "running" not in name}
    return [new.float() - old for new, old in zip(after.values(), before, strict=True)], gradients


@pytest.mark.parametrize("optimizer", [LARS, LAMB, SGD])
@pytest.mark.parametrize("loss", ["{reduction: mean}", "{reduction: sum}", "{scaling: dynamic}"])
def test_float16_steps_as_float32_does(optimizer, loss):
    if "sum" in loss and optimizer != SGD:
        pytest.skip("divides the scale out, so that it refuses a summed loss")
    half, _ = after_a_step(torch.float16, "precision=half", optimizer, f"loss={loss}")
    single, _ = after_a_step(torch.float32, optimizer)
    for one, other in zip(half, single, strict=True):
        assert other.abs().max() > 0
        rounding = 2**-12 if optimizer == SGD else 0.0  # SGD steps the float16 weights themselves
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.01 * float(other.abs().max()) + rounding)


def test_no_gradient_of_a_mean_loss_is_flushed_to_zero():
    _, scaled = after_a_step(torch.float16, LARS)
    _, wanted = after_a_step(torch.float32, LARS)
    network, chosen = network_of(torch.float16), load()
    loss_of(network, chosen, torch.float16).backward()
    unscaled = [parameter.grad for parameter in network.parameters()]
    errors = {"scaled": 0.0, "unscaled": 0.0}
    for one, plain, other in zip(scaled, unscaled, wanted, strict=True):
        if one.dtype == torch.float16 and one.dim() == 2:
            size = other.abs().max()
            errors["scaled"] = max(errors["scaled"], float((one.float() / BATCH - other).abs().max() / size))
            errors["unscaled"] = max(errors["unscaled"], float((plain.float() - other).abs().max() / size))
    assert errors["scaled"] < 0.005
    assert errors["unscaled"] > 5 * errors["scaled"]


@pytest.mark.parametrize("optimizer", [SGD, LARS, "optimizer={name: adamw, lr: 0.1}"])
def test_a_dynamic_scale_leaves_out_steps_that_overflow_and_counts_them(optimizer):
    network, chosen = network_of(torch.float16), load("precision=half", optimizer, "loss.scaling=dynamic")
    optimizer = optimizer_of(network, chosen)
    assert isinstance(optimizer, GradScalerOptimizer)
    counts, changed = [], []
    for is_broken in (False, True, False):
        before = [parameter.detach().clone() for parameter in network.parameters()]
        optimizer.backward(loss_of(network, chosen, torch.float16))
        if is_broken:
            next(network.parameters()).grad[0, 0] = torch.inf
        optimizer.step(0)
        counts.append(optimizer.notes()["loss_scaling"]["overflows"])
        changed.append(any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)))
    assert counts[2] == counts[0] + 1 == counts[1]
    assert changed[1:] == [False, True]
    assert optimizer.notes()["loss_scaling"]["scale"] < torch.amp.GradScaler("cpu").get_scale()


@pytest.mark.parametrize("is_reset", [False, True])
def test_the_momentum_begins_at_zero_where_the_first_step_is_left_out(monkeypatch, is_reset):
    """torch's fused SGD makes its momenta in it, and takes what is in their memory for their values."""
    momentum = "optimizer={name: sgd, lr: 0.5, momentum: 0.9, weight_decay: 0.01}"
    monkeypatch.setattr(torch, "empty_like", lambda like, **options: torch.full_like(like, torch.nan, **options))
    chosen, trained = load("precision=half", momentum, "loss.scaling=dynamic"), []
    for broken in ([False], [True, False]):
        network = network_of(torch.float16)
        optimizer = optimizer_of(network, chosen)
        if is_reset:
            optimizer.reset()
        for step, is_broken in enumerate(broken):
            optimizer.backward(loss_of(network, chosen, torch.float16))
            if is_broken:
                next(network.parameters()).grad[0, 0] = torch.inf
            optimizer.step(step)
        assert optimizer.notes()["loss_scaling"]["overflows"] == len(broken) - 1
        trained.append(list(network.parameters()))
    for one, other in zip(*trained, strict=True):
        torch.testing.assert_close(one, other, rtol=0.01, atol=0.001)


def test_a_trial_notes_what_was_left_out(digits):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no fast bfloat16")
    chosen = load("precision=half", "epochs=1", "loss.scaling=dynamic")
    trial = run_trial(set_up(chosen, digits, World()), seed=0)
    noted = trial.notes["loss_scaling"]
    assert noted.keys() == {"overflows", "scale"}
    assert noted["overflows"] < trial.steps
    assert trial.accuracy > 0.3


def test_float32_is_scaled_by_nothing():
    network, chosen = network_of(torch.float32), load()
    optimizer = optimizer_of(network, chosen)
    assert not isinstance(optimizer, MasterWeightOptimizer)
    optimizer.backward(loss_of(network, chosen, torch.float32))
    scaled = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    loss_of(network, chosen, torch.float32).backward()
    assert all(torch.equal(one, parameter.grad) for one, parameter in zip(scaled, network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss.scaling=dynamic"], "loss.scaling=dynamic is for precision=half"),
        (["precision=half", "loss={scaling: dynamic, reduction: sum}", SGD], "loss.scaling=dynamic is for"),
        (
            ["precision=half", "loss.scaling=dynamic", "techniques.gradient_clipping={norm: 1}"],
            "techniques.gradient_clipping needs gradients whose scale is known",
        ),
    ],
)
def test_what_a_dynamic_scale_does_not_go_with(overrides, message):
    with pytest.raises(recipe.RecipeError, match=message):
        load(*overrides)
