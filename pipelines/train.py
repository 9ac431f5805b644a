"""One trial, from bytes in host memory to an evaluated network. Read `run_trial` to know what is measured."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kernels import choice
from pipelines import models, strategies
from pipelines.clock import Lap
from pipelines.data import loaders, resident
from pipelines.data.dataset import Dataset
from pipelines.data.loaders import Batches, LoaderContext, make_loader
from pipelines.data.order import sample_weights
from pipelines.data.pool import ImagePool
from pipelines.data.resident import preprocess, to_device
from pipelines.distributed.process_group import World
from pipelines.evaluate import evaluate
from pipelines.events import Hooks, State
from pipelines.host import gpu_sampler
from pipelines.host.devices import make_clock, number_formats, peak_bytes, use_float32
from pipelines.losses import make_loss, mean_loss
from pipelines.optim import optimizers
from pipelines.recipe import Recipe
from pipelines.recipe.contradictions import BY_LAYERS, chosen
from pipelines.strategies import accumulation
from pipelines.strategies.accumulation import Backward
from pipelines.techniques import make_techniques
from pipelines.trial import EpochResult, Trial

MOST_GRAPHS = 64
"""of a compiled network; past this many, torch.compile would go on without compiling"""


@dataclass(frozen=True)
class TrainingSetup:
    """What the trials of a run share: the data in host memory, and one network, made anew for each trial in place so
    that it is compiled once."""

    recipe: Recipe
    dataset: Dataset
    world: World
    dtype: torch.dtype
    """of the images on the device"""
    network: nn.Module
    forward: Callable[[Tensor], Tensor]
    """the network as it is called: replicated, compiled, under autocast, as the recipe and the world want it"""
    backward: Backward = accumulation.whole_batch
    """forward and backward pass of a batch: at once, or in the recipe's micro-batches"""
    strategy: str = "none"
    """by what the processes share the network, read off it"""
    sharding: strategies.Sharding | None = None
    """shares the network of each trial out; `network` is then no more than its outline, on torch's meta device"""

    def new_network(self) -> nn.Module:
        """The network of a trial, to be initialised."""
        return self.sharding.whole(self.network) if self.sharding else self.network

    def share(self, network: nn.Module, make_stepper: strategies.MakeOptimizer) -> strategies.Shared:
        """The initialised network of a trial as the processes share it."""
        if self.sharding:
            return self.sharding.share(network, make_stepper)
        return strategies.Shared(self.forward, self.backward, make_stepper(network), self.strategy)

    @property
    def local_batch_size(self) -> int:
        """Images per step in one process."""
        return self.recipe.batch_size // self.world.size

    @property
    def gradient_bytes(self) -> int:
        """What several processes would exchange in a step."""
        return sum(each.numel() * each.element_size() for each in self.network.parameters() if each.requires_grad)


def set_up(recipe: Recipe, dataset: Dataset, world: World) -> TrainingSetup:
    """Build the network and whatever else does not belong to one trial. ValueError when recipe and machine, or recipe
    and data, do not go together."""
    device = world.device
    strategies.check_launch(recipe, os.environ)
    sharding = strategies.make_sharding(recipe, world)
    loaders.check(recipe)
    recipe.steps_per_epoch(len(dataset.train_images))
    if recipe.batch_size % world.size:
        nearest = max(recipe.batch_size // world.size, 1) * world.size
        raise ValueError(
            f"batch_size={recipe.batch_size} cannot be shared equally by {world.size} processes; "
            f"say batch_size={nearest}"
        )
    rest = len(dataset.train_images) % recipe.batch_size
    if not recipe.drop_last and 0 < rest < world.size:
        raise ValueError(
            f"drop_last=false leaves a last batch of {rest} images, too few for {world.size} processes: "
            "say drop_last=true or another batch_size"
        )
    if world.size > 1 and (alone := chosen(recipe, BY_LAYERS)):
        raise ValueError(f"techniques.{alone[0]} trains in one process, and there are {world.size}: launch one")
    resident.check(recipe.augment, *dataset.image_shape[1:])
    sample_weights(torch.as_tensor(dataset.train_labels), recipe.data.class_weights, len(dataset.class_names))
    models.check_sides(recipe, dataset.image_shape, len(dataset.class_names))
    weights_dtype, dtype = number_formats(recipe, device)
    torch.backends.cudnn.benchmark = True
    network = models.build_network(recipe.model, dataset.image_shape, len(dataset.class_names)).to(device)
    network = models.to_precision(network, weights_dtype, channels_last=recipe.channels_last)
    if sharding:  # shared out once, which tells what really runs, and whether it does
        outline = network.to("meta")
        make_stepper = partial(optimizers.make_stepper, recipe=recipe, local_batch_size=1, steps=1, steps_per_epoch=1)
        tried = sharding.share(sharding.whole(outline), make_stepper)
        tried.close()
        return TrainingSetup(
            recipe, dataset, world, dtype, outline, outline, strategy=tried.strategy, sharding=sharding
        )
    replicated = strategies.replicate(network, recipe, world)
    backward = accumulation.make_backward(recipe, replicated, recipe.batch_size // world.size)
    forward: Callable[[Tensor], Tensor] = replicated
    if recipe.compile:
        # a graph for every shape, all made in the warm-up: one for all shapes would be slower in each
        torch._dynamo.config.recompile_limit = MOST_GRAPHS
        forward = torch.compile(forward, dynamic=False)
    if recipe.precision == "autocast":
        forward = torch.autocast(device.type, torch.bfloat16)(forward)
    return TrainingSetup(recipe, dataset, world, dtype, network, forward, backward, strategies.strategy_of(replicated))


def run_trial(bench: TrainingSetup, seed: int, observers: Sequence[Any] = ()) -> Trial:
    """Train and evaluate once, everything drawn from `seed`. `observers` hook into the events after the techniques."""
    with gpu_sampler.sampled(bench.world.device) as samples:
        trial = train(bench, seed, observers)
    return replace(trial, notes=trial.notes | gpu_sampler.notes(samples, bench.world))


def train(bench: TrainingSetup, seed: int, observers: Sequence[Any]) -> Trial:
    """The trial itself."""
    recipe, dataset, world = bench.recipe, bench.dataset, bench.world
    device = world.device
    choice.use(recipe.kernels)
    use_float32(recipe.float32_precision)
    clock = make_clock(device)
    steps_per_epoch = recipe.steps_per_epoch(len(dataset.train_images))
    steps = recipe.steps(len(dataset.train_images))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    loader = make_loader(LoaderContext(recipe, dataset, world, bench.dtype, seed, seed_of_rank(seed, world.rank)))
    with clock.lap("transfer"):
        loader.transfer()
        test_bytes, test_labels = to_device(dataset.test_images, dataset.test_labels, device)

    with clock.lap("preprocess"):
        loader.preprocess()
        test_images = preprocess(test_bytes, dataset, bench.dtype).permute(0, 3, 1, 2)

    with clock.lap("build"):
        network = bench.new_network()
        models.initialize(network, seed, recipe.initialization)
        torch.manual_seed(seed_of_rank(seed, world.rank))  # what the network itself draws, such as dropout
        network.zero_grad(set_to_none=True)  # of a trial that was broken off
        network.train()

    if whitening_layers := models.whitening_layers(network):
        with clock.lap("whiten"):
            for layer in whitening_layers:
                layer.fit(loader.plain(layer.knobs.images)[0])

    with clock.lap("build"):
        strategies.align(network, world)
        make_stepper = partial(
            optimizers.make_stepper,
            recipe=recipe,
            local_batch_size=bench.local_batch_size,
            steps=steps,
            steps_per_epoch=steps_per_epoch,
        )
        shared = bench.share(network, make_stepper)
        assert shared.strategy == bench.strategy
        loss_function, companions = strategies.exact(make_loss(recipe.loss), recipe, len(dataset.train_images), world)
        state = State(
            recipe,
            network,
            shared.forward,
            shared.stepper,
            seed,
            steps,
            steps_per_epoch,
            world=world,
            loss_function=loss_function,
            gradient_scale=optimizers.gradient_scale(recipe, bench.local_batch_size, bench.dtype),
            held_out=partial(resident.held_out, dataset, bench.dtype, device),
            loader=loader,
            pool=partial(ImagePool, dataset, bench.dtype, device, seed_of_rank(seed, world.rank)),
            laps=clock.laps,
        )
        hooks = Hooks([*make_techniques(recipe), *companions, *observers])
        for hook in hooks.trial_start:
            hook(state)

    if hooks.pretrain:
        with clock.lap("pretrain"):
            for hook in hooks.pretrain:
                hook(state)

    diverged = False
    while state.step < state.steps and not diverged:
        epoch = state.epoch = state.step // steps_per_epoch
        with clock.lap("augment", epoch + 1):
            batches = state.batches = loader.epoch(epoch)
            for hook in hooks.epoch_start:
                hook(state)

        with clock.lap("train", epoch + 1):
            losses = train_epoch(batches, shared.backward, state, hooks)

        train_loss = mean_loss(losses, batches.batch_sizes, recipe, world)
        diverged = not math.isfinite(train_loss)
        if hooks.train_epoch_end and not diverged:
            with clock.lap("evaluate", epoch + 1):
                for hook in hooks.train_epoch_end:
                    hook(state)
        accuracy = accuracy_plain = train_accuracy = None
        is_last = state.step == state.steps
        if not diverged and (is_last or (epoch + 1) % recipe.evaluation.every == 0):
            # the last epoch is evaluated once, and that is part of the recipe; the others are for our eyes only
            with clock.lap("final_evaluate") if is_last else clock.lap("evaluate", epoch + 1):
                for hook in hooks.evaluation_start:
                    hook(state)
                network.eval()
                measured = evaluate(state.predict, test_images, test_labels, recipe.evaluation, world)
                accuracy, accuracy_plain = measured.with_tta, measured.plain
            if recipe.evaluation.train_accuracy:
                with clock.lap("evaluate", epoch + 1):
                    plain_images, plain_labels = loader.plain()
                    one_view = recipe.evaluation.model_copy(update={"tta": "none"})
                    plain = plain_images.permute(0, 3, 1, 2), plain_labels
                    train_accuracy = evaluate(state.predict, *plain, one_view, world).plain
            if recipe.evaluation.per_class:
                state.notes["class_accuracy"] = dict(zip(dataset.class_names, measured.by_class, strict=True))
            network.train()
            for hook in hooks.evaluation_end:
                hook(state)
        state.history.append(EpochResult(epoch + 1, train_loss, accuracy, accuracy_plain, train_accuracy))
        for hook in hooks.epoch_end:
            hook(state)

    loader.close()
    for hook in hooks.trial_end:
        hook(state)
    state.notes |= shared.stepper.notes()
    shared.close()
    (host_bytes, device_bytes), last = world.maximum(peak_bytes(device)).tolist(), state.history[-1]
    reached = last.accuracy is not None and last.accuracy >= recipe.target
    return Trial(
        seed=seed,
        outcome="diverged" if diverged else "reached" if reached else "missed",
        reason=f"the training loss of epoch {last.epoch} is {last.train_loss}" if diverged else None,
        accuracy=last.accuracy,
        accuracy_plain=last.accuracy_plain,
        target=recipe.target,
        epochs=tuple(state.history),
        laps=slowest(clock.laps, world),
        steps=state.step,
        samples=recipe.samples(state.step, len(dataset.train_images)),
        peak_host_bytes=host_bytes,
        peak_device_bytes=device_bytes if device.type == "cuda" else None,
        notes=state.notes,
    )


def train_epoch(batches: Batches, backward: Backward, state: State, hooks: Hooks) -> list[Tensor]:
    """One step a batch, as far as the trial goes; returns the loss of each step, still on the device."""
    losses = []
    steps_left = range(state.step, state.steps)
    for step, (state.images, state.labels) in zip(steps_left, batches, strict=False):
        for hook in hooks.batch_ready:
            hook(state)
        loss = backward(state)
        for hook in hooks.gradients_ready:
            hook(state)
        state.stepper.step(step)
        state.step = step + 1
        losses.append(loss)
        for hook in hooks.step_end:
            hook(state)
    return losses


def seed_of_rank(seed: int, rank: int) -> int:
    """A seed of its own for each process and trial, for what must differ between the processes."""
    return int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])


def slowest(laps: list[Lap], world: World) -> tuple[Lap, ...]:
    """Each lap as long as it was on the slowest process."""
    seconds = world.maximum(torch.tensor([lap.seconds for lap in laps], dtype=torch.float64)).tolist()
    return tuple(replace(lap, seconds=longest) for lap, longest in zip(laps, seconds, strict=True))
