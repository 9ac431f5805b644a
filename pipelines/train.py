"""One trial, from bytes in host memory to an evaluated network. Read `run_trial` to see what is measured."""

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kernels import choice
from pipelines import models, preflight
from pipelines.clock import Clock, Lap
from pipelines.data.dataset import Dataset
from pipelines.data.loader import Batches, Loader, LoaderContext
from pipelines.data.loaders import make_loader
from pipelines.data.pool import ImagePool
from pipelines.data.preprocess import held_out, network_inputs, pinned, to_device
from pipelines.distributed.process_group import World
from pipelines.evaluate import evaluate
from pipelines.events import Hooks, State
from pipelines.host import gpu_sampler
from pipelines.host.devices import make_clock, number_formats, peak_bytes, reset_peak_bytes, use_float32
from pipelines.losses import make_loss, mean_loss
from pipelines.optim.optimizers import gradient_scale, make_optimizer
from pipelines.recipe import Recipe
from pipelines.seeds import seed_of_rank
from pipelines.strategies import make_strategy
from pipelines.strategies.accumulation import Backward
from pipelines.strategies.match_single_process import match_single_process
from pipelines.strategies.strategy import Strategy
from pipelines.techniques import make_techniques
from pipelines.trial import EpochResult, Outcome, Trial


@dataclass(frozen=True)
class TrainingSetup:
    """What the trials of a run share."""

    recipe: Recipe
    dataset: Dataset
    world: World
    dtype: torch.dtype
    """of the images on the device"""
    strategy: Strategy
    """how the processes share the network and the work"""

    @property
    def network(self) -> nn.Module:
        """The network of the trial in progress."""
        return self.strategy.network

    @property
    def local_batch_size(self) -> int:
        """Images per step in one process."""
        return self.recipe.batch_size // self.world.data.size


def set_up(recipe: Recipe, dataset: Dataset, world: World) -> TrainingSetup:
    """Check the recipe, and build what all trials share.

    ValueError if recipe, data and machine do not fit together.
    """
    world = preflight.meshed(recipe, world)
    preflight.check(recipe, dataset, world)
    torch.backends.cudnn.benchmark = True
    if world.device.type == "cuda":
        dataset = pinned(dataset)
    weights_dtype, dtype = number_formats(recipe, world.device)
    network = models.build_network(recipe.model, dataset.image_shape, len(dataset.class_names)).to(world.device)
    network = models.to_precision(network, weights_dtype, channels_last=recipe.channels_last)
    return TrainingSetup(recipe, dataset, world, dtype, make_strategy(recipe, network, world))


def run_trial(setup: TrainingSetup, seed: int, observers: Sequence[Any] = ()) -> Trial:
    """Train and evaluate once. Everything random is drawn from `seed`.

    observers: called at the events (`pipelines/events.py`) after the techniques.
    """
    with gpu_sampler.sampled(setup.world.device) as samples:
        trial = train(setup, seed, observers)
    gc.collect()  # a network is part of cycles, and the next trial may need its memory
    return replace(trial, gpus=gpu_sampler.of_all_processes(samples, setup.world))


def train(setup: TrainingSetup, seed: int, observers: Sequence[Any]) -> Trial:
    """The trial itself."""
    recipe, dataset, world, strategy = setup.recipe, setup.dataset, setup.world, setup.strategy
    clock = make_clock(world.device, world.barrier)
    choice.use(recipe.kernels)
    use_float32(recipe.float32_precision)
    reset_peak_bytes(world.device)

    augment_seed = seed_of_rank(seed, 0 if recipe.shares_augmentation else world.data.rank)
    loader = make_loader(LoaderContext(recipe, dataset, world.data, setup.dtype, seed, augment_seed))
    with clock.lap("transfer"):
        loader.transfer()
        test_bytes, test_labels = to_device(dataset.test_images, dataset.test_labels, world.device)

    with clock.lap("preprocess"):
        loader.preprocess()
        test_images = network_inputs(test_bytes, dataset, setup.dtype)

    with clock.lap("build"):
        network = strategy.new_network()
        models.initialize(network, seed, recipe.initialization)
        torch.manual_seed(seed_of_rank(seed, world.data.rank))  # for what the network itself draws, such as dropout
        network.zero_grad(set_to_none=True)  # left by a trial that was interrupted
        network.train()

    if models.whitening_layers(network):
        with clock.lap("whiten"):
            if world.is_main:
                models.fit_whitening(network, loader.plain)

    with clock.lap("build"):
        broadcast_weights(network, world)
        state, backward, hooks = begin_trial(setup, seed, loader, clock, observers)

    if hooks.pretrain:
        with clock.lap("pretrain"):
            for hook in hooks.pretrain:
                hook(state)

    with clock.lap("build"):
        for hook in hooks.trial_start:
            hook(state)

    diverged = False
    while state.step < state.steps and not diverged:
        epoch = state.epoch = state.step // state.steps_per_epoch
        with clock.lap("augment", epoch + 1):
            batches = state.batches = loader.epoch(epoch)
            for hook in hooks.epoch_start:
                hook(state)

        with clock.lap("train", epoch + 1):
            losses, sizes = train_epoch(batches, backward, state, hooks)

        result = EpochResult(epoch + 1, mean_loss(losses, sizes, recipe, world.data))
        diverged = not math.isfinite(result.train_loss)
        if hooks.train_epoch_end and not diverged:
            with clock.lap("evaluate", epoch + 1):
                for hook in hooks.train_epoch_end:
                    hook(state)
        every = recipe.evaluation.every
        if not diverged and every and (state.step == state.steps or (epoch + 1) % every == 0):
            result = evaluate_epoch(result, state, test_images, test_labels, clock, hooks)
        state.history.append(result)
        for hook in hooks.epoch_end:
            hook(state)

    loader.close()
    for hook in hooks.trial_end:
        hook(state)
    trial = finish_trial(setup, state, diverged=diverged)
    strategy.close()
    return trial


def begin_trial(
    setup: TrainingSetup, seed: int, loader: Loader, clock: Clock, observers: Sequence[Any]
) -> tuple[State, Backward, Hooks]:
    """The state of a trial before its first step, its backward pass, and what hooks into it."""
    recipe, dataset, world = setup.recipe, setup.dataset, setup.world
    images = len(dataset.train_images)
    steps, steps_per_epoch = recipe.steps(images), recipe.steps_per_epoch(images)
    prepared = setup.strategy.prepare(
        partial(
            make_optimizer,
            recipe=recipe,
            local_batch_size=setup.local_batch_size,
            steps=steps,
            steps_per_epoch=steps_per_epoch,
        )
    )
    loss_function, callbacks = match_single_process(make_loss(recipe.loss), recipe, images, world.data)
    state = State(
        recipe,
        setup.network,
        prepared.forward,
        prepared.optimizer,
        seed,
        steps,
        steps_per_epoch,
        train_images=images,
        world=world,
        loss_function=loss_function,
        gradient_scale=gradient_scale(recipe, setup.local_batch_size, setup.dtype),
        held_out=partial(held_out, dataset, setup.dtype, world.device),
        loader=loader,
        pool=partial(ImagePool, dataset, setup.dtype, world.device, seed_of_rank(seed, world.data.rank)),
        laps=clock.laps,
        class_names=dataset.class_names,
    )
    return state, prepared.backward, Hooks([*make_techniques(recipe), *callbacks, *prepared.callbacks, *observers])


def train_epoch(batches: Batches, backward: Backward, state: State, hooks: Hooks) -> tuple[list[Tensor], list[int]]:
    """One step a batch, as far as the trial goes; returns the loss of each step, still on the device, and the images
    that it is the loss of."""
    losses, sizes = [], []
    steps_left = range(state.step, state.steps)
    for step, (state.images, state.labels) in zip(steps_left, batches, strict=False):
        for hook in hooks.batch_ready:
            hook(state)
        loss = backward(state)
        for hook in hooks.gradients_ready:
            hook(state)
        state.optimizer.step(step)
        state.step = step + 1
        losses.append(loss)
        sizes.append(len(state.labels))
        for hook in hooks.step_end:
            hook(state)
    return losses, sizes


def evaluate_epoch(
    result: EpochResult, state: State, images: Tensor, labels: Tensor, clock: Clock, hooks: Hooks
) -> EpochResult:
    """The result of the epoch in progress with its accuracies.

    images: the test images, (N, C, H, W). The evaluation of the last epoch is part of the recipe and has a lap of its
    own; the others only tell how the training goes.
    """
    config, world = state.recipe.evaluation, state.world.data
    with clock.lap("final_evaluate") if state.step == state.steps else clock.lap("evaluate", result.epoch):
        for hook in hooks.evaluation_start:
            hook(state)
        state.network.eval()
        measured = evaluate(state.predict, images, labels, config, world)
    train_accuracy = None
    if config.train_accuracy:
        with clock.lap("evaluate", result.epoch):
            plain_images, plain_labels = state.loader.plain()
            one_view = config.model_copy(update={"tta": "none"})
            train_accuracy = evaluate(
                state.predict, plain_images.permute(0, 3, 1, 2), plain_labels, one_view, world
            ).plain
    if config.per_class:
        state.notes["class_accuracy"] = dict(zip(state.class_names, measured.by_class, strict=True))
    state.network.train()
    for hook in hooks.evaluation_end:
        hook(state)
    return replace(result, accuracy=measured.with_tta, accuracy_plain=measured.plain, train_accuracy=train_accuracy)


def finish_trial(setup: TrainingSetup, state: State, *, diverged: bool) -> Trial:
    """The result of a trial, after its last epoch."""
    recipe, world, last = setup.recipe, setup.world, state.history[-1]
    host_bytes, device_bytes = world.maximum(peak_bytes(world.device)).tolist()
    return Trial(
        seed=state.seed,
        outcome="diverged" if diverged else outcome(last.accuracy, recipe.target),
        reason=f"the training loss of epoch {last.epoch} is {last.train_loss}" if diverged else None,
        accuracy=last.accuracy,
        accuracy_plain=last.accuracy_plain,
        target=recipe.target,
        epochs=tuple(state.history),
        laps=slowest(state.laps, world),
        steps=state.step,
        samples=recipe.samples(state.step, len(setup.dataset.train_images)),
        peak_host_bytes=host_bytes,
        peak_device_bytes=device_bytes if world.device.type == "cuda" else None,
        kernels=choice.ran(),
        notes=state.notes | state.optimizer.notes(),
    )


def outcome(accuracy: float | None, target: float | None) -> Outcome:
    """`reached`, `missed` or `finished`, of a training that ended with this accuracy."""
    if target is None:
        return "finished"
    return "reached" if accuracy is not None and accuracy >= target else "missed"


@torch.no_grad()
def broadcast_weights(network: nn.Module, world: World) -> None:
    """Give every process the weights of rank 0, which alone whitens. Machines may also round what they draw."""
    for tensor in network.state_dict().values():
        world.broadcast(tensor)


def slowest(laps: list[Lap], world: World) -> tuple[Lap, ...]:
    """Each lap as long as it was on the slowest process."""
    seconds = world.maximum(torch.tensor([lap.seconds for lap in laps], dtype=torch.float64)).tolist()
    return tuple(replace(lap, seconds=longest) for lap, longest in zip(laps, seconds, strict=True))
