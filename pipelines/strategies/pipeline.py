"""Pipeline: each process has consecutive layers, a stage, and micro-batches pass from one to the next (torch's
torch.distributed.pipelining).

`accumulation` is the number of micro-batches, with the same meaning as in one process: norms see one micro-batch at a
time, gradients add up. GPipe: Huang et al. 2019 (arXiv 1811.06965); 1F1B: Narayanan et al. 2019 (PipeDream, SOSP);
interleaved 1F1B: Narayanan et al. 2021 (arXiv 2104.04473).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B

from pipelines.data.preprocess import to_contiguous_format
from pipelines.distributed.process_group import World
from pipelines.distributed.ring import all_reduce
from pipelines.estimate import flops
from pipelines.events import State
from pipelines.host.devices import make_clock
from pipelines.models import sequence
from pipelines.recipe import Recipe
from pipelines.strategies.gradients import average_gradients
from pipelines.strategies.strategy import MakeOptimizer, Materialized, Prepared
from pipelines.strategies.traffic import Traffic, trained_bytes

NAMES = {"gpipe": "GPipe", "1f1b": "1F1B", "interleaved": "interleaved 1F1B"}


class Pipeline(Materialized):
    """Stages of about equal numbers of operations, or those that the recipe names."""

    def __init__(self, recipe: Recipe, network: nn.Module, world: World) -> None:
        super().__init__(recipe, network, world)
        parallel, model = recipe.parallel, world.model
        self._count = model.size * parallel.stages_per_process
        self._own = range(model.rank, self._count, model.size)
        names = self._cut(self._meta_model.eval())
        self._meta_stages = [self._stage(self._meta_model, part) for part in names]
        self._names = [[name for name, _ in part] for part in names]
        self.traffic = self._traffic()
        self._is_first, self._is_last = model.rank == 0, model.rank == model.size - 1
        what = "model" if parallel.strategy == "model" else f"pipeline {NAMES[parallel.schedule]}"
        copies = f", {world.data.size} data-parallel" if world.data.size > 1 else ""
        self.name = f"{what} ({self._count} stages{copies})"

    def _cut(self, network: nn.Module) -> list[sequence.Named]:
        values, costs = torch.empty(1, *network.image_shape, device="meta"), []
        for part in sequence.units(network):
            module = sequence.Stage([one for _, one in part])
            costs.append(flops(module, values))
            with torch.no_grad():
                values = module(values)
        return sequence.cut(network, self._count, costs, self._recipe.parallel.cut or ())

    def _stage(self, network: nn.Module, part: sequence.Named) -> sequence.Stage:
        scale = getattr(network, "logit_scale", 1.0) if part[-1][0] == "head" else 1.0
        return sequence.Stage([module for _, module in part], scale)

    def _traffic(self) -> Traffic:
        """Values and their gradients between the stages; an all-reduce of the weights' gradients over the copies."""
        model, data = self._world.model, self._world.data
        images = torch.empty(self._recipe.batch_size // data.size, *self._meta_model.image_shape, device="meta")
        between = sequence.shapes(self._meta_stages, images)[1:-1]
        values = sum(shape.numel() for shape in between) * torch.float32.itemsize
        gradients = trained_bytes(self._meta_model.parameters()) // model.size if data.size > 1 else 0
        return Traffic(gradients, 2 * values / model.size + all_reduce(data.size) * gradients)

    def prepare(self, make_optimizer: MakeOptimizer) -> Prepared:
        """Put the other processes' layers on the meta device: the optimizer has this process's alone."""
        modules = dict(sequence.in_sequence(self.network))
        for index, names in enumerate(self._names):
            for name in names if index not in self._own else ():
                modules[name].to("meta").requires_grad_(False)
        self._stages = {
            index: self._stage(self.network, [(name, modules[name]) for name in self._names[index]])
            for index in self._own
        }
        self._schedules: dict[tuple[torch.Size, bool], Any] = {}
        self._trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return Prepared(self.forward, self.backward, make_optimizer(self.network), (Bubble(self),))

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes) logits, without gradients, on every process."""
        shape = sequence.shapes(self._meta_stages, images)[-1]
        logits = torch.zeros(shape, device=images.device)
        if len(images):
            found = self._schedule(images, is_training=False).eval(*self._inputs(images))
            logits = found if self._is_last else logits
        return self._world.model.sum(logits)

    def backward(self, state: State) -> Tensor:
        """The gradients of a batch in the parameters of each stage, and its loss on every process."""
        assert state.images is not None
        self._loss_function = state.loss_function
        losses: list[Tensor] = []
        self._schedule(state.images, is_training=True).step(
            *self._inputs(state.images),
            target=state.labels if self._is_last else None,
            losses=losses if self._is_last else None,
            return_outputs=False,
        )
        average_gradients(self._trained, self._world.data)
        loss = torch.stack(losses).sum().detach() if losses else torch.zeros((), device=state.images.device)
        return self._world.model.sum(loss)

    def _inputs(self, images: Tensor) -> tuple[Tensor, ...]:
        return (to_contiguous_format(images),) if self._is_first else ()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The micro-batch's share of the loss of the batch."""
        share = 1 / self._recipe.accumulation if self._recipe.loss.reduction == "mean" else 1.0
        return share * self._loss_function(logits, labels)

    def _schedule(self, images: Tensor, *, is_training: bool) -> Any:
        """torch's schedule for batches of this shape, which is made once."""
        key = (images.shape, is_training)
        if key not in self._schedules:
            count = self._recipe.accumulation if is_training else 1
            micro_batch = images[: len(images) // count]
            shapes = sequence.shapes(self._meta_stages, micro_batch)
            stages = [self._torch_stage(index, shapes, is_training=is_training) for index in self._own]
            options = {"loss_fn": self._loss if is_training else None, "scale_grads": False}
            if len(stages) > 1:
                self._schedules[key] = ScheduleInterleaved1F1B(stages, count, **options)
            else:
                is_1f1b = is_training and count > 1 and self._recipe.parallel.schedule == "1f1b"
                make = Schedule1F1B if is_1f1b else ScheduleGPipe
                self._schedules[key] = make(stages[0], count, **options)
        return self._schedules[key]

    def _torch_stage(self, index: int, shapes: list[torch.Size], *, is_training: bool) -> PipelineStage:
        values = [
            torch.empty(shape, device="meta", requires_grad=is_training and place > 0)
            for place, shape in enumerate(shapes)
        ]
        return PipelineStage(
            self._stages[index],
            index,
            self._count,
            self._world.device,
            input_args=values[index],
            output_args=values[index + 1],
            group=self._world.model.group,
        )

    def close(self) -> None:
        super().close()
        self._stages, self._schedules, self._trained = {}, {}, []


make_strategy = Pipeline


class Bubble:
    """Notes the share of a step in which processes wait for each other, measured in one more step after the trial.

    Each micro-batch is timed with the device synchronised, which a training does not do.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def trial_end(self, state: State) -> None:
        pipeline, model = self._pipeline, state.world.model
        statistics = [(buffer, buffer.clone()) for buffer in state.network.buffers() if not buffer.is_meta]
        schedule = pipeline._schedule(state.images, is_training=True)
        stages = schedule._stages if hasattr(schedule, "_stages") else [schedule._stage]
        clock, busy = make_clock(state.world.device), make_clock(state.world.device)
        for stage in stages:
            for name in ("forward_one_chunk", "backward_one_chunk"):
                setattr(stage, name, _timed(getattr(stage, name), busy))
        state.world.barrier()
        with clock.lap("step"):
            pipeline.backward(state)
        state.network.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, before in statistics:
                buffer.copy_(before)
        seconds = [sum(lap.seconds for lap in busy.laps), clock.laps[0].seconds]
        rows = model.gather(seconds)
        longest = max(step for _, step in rows)
        micro_batches, chunks = state.recipe.accumulation, state.recipe.parallel.stages_per_process
        state.notes["pipeline"] = {
            "stages": pipeline._names,
            "busy_seconds": [own for own, _ in rows],
            "step_seconds": longest,
            "bubble": 1 - sum(own for own, _ in rows) / (len(rows) * longest),
            "bubble_in_theory": (model.size - 1) / (chunks * micro_batches + model.size - 1),
        }


def _timed(function: Any, clock: Any) -> Any:
    def timed(*arguments: Any, **options: Any) -> Any:
        with clock.lap("busy"):
            return function(*arguments, **options)

    return timed
