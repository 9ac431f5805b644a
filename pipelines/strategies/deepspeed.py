"""DeepSpeed: ZeRO shards the optimizer's state, the gradients and the weights, as far as `zero_stage` says
(Rajbhandari et al. 2020, arXiv 1910.02054).

DeepSpeed gets a torch optimizer and no schedule: our optimizer writes the learning rates into the groups. DeepSpeed
0.19.8 never frees what it made of a network under ZeRO-3, about two and a half times its weights each trial.
"""

import logging
import os
import warnings
from typing import Any

import torch
from torch import nn

from pipelines.distributed.process_group import World
from pipelines.host.extras import require
from pipelines.recipe import Recipe
from pipelines.strategies.accumulation import make_backward
from pipelines.strategies.strategy import MakeOptimizer, Materialized, Prepared
from pipelines.strategies.traffic import whole_passes


class SteppedByEngine:
    """DeepSpeed's engine in the place of the optimizer that it wraps."""

    def __init__(self, engine: Any, optimizer: torch.optim.Optimizer) -> None:
        self._engine = engine
        self.param_groups = optimizer.param_groups

    def step(self) -> None:
        self._engine.step()

    def zero_grad(self, set_to_none: bool) -> None:
        """Nothing: the engine's step has dropped the accumulation."""


class DeepSpeed(Materialized):
    """`deepspeed.initialize` with DeepSpeed's own defaults except for those in `configuration`."""

    def __init__(self, recipe: Recipe, network: nn.Module, world: World) -> None:
        super().__init__(recipe, network, world)
        os.environ.setdefault("DS_ACCELERATOR", world.device.type)
        self._deepspeed = require("deepspeed", "deepspeed")
        if world.device.type == "cuda":
            # which DeepSpeed takes for the number of this process's GPU; where each process sees one alone, that is 0
            os.environ["LOCAL_RANK"] = str(world.device.index)
        if world.device.type == "cpu":
            # it would be compiled, in half a minute and by a compiler that must be there, for inference alone
            require("deepspeed.ops", "deepspeed").__compatible_ops__["deepspeed_shm_comm"] = False
        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # it warns of every optimizer but its own
        warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)  # DeepSpeed 0.19.8
        self.name = f"ZeRO-{recipe.parallel.zero_stage}"
        self.has_whole_weights = recipe.parallel.has_whole_weights
        self.traffic = whole_passes(network, world.size, 3 if recipe.parallel.zero_stage == 3 else 2)

    def prepare(self, make_optimizer: MakeOptimizer) -> Prepared:
        optimizer = make_optimizer(self.network)
        (wrapped,) = optimizer.optimizers
        self._engine, *_ = self._deepspeed.initialize(
            model=self.network, optimizer=wrapped, config=configuration(self._recipe)
        )
        assert self._engine.zero_optimization_stage() == self._recipe.parallel.zero_stage
        optimizer.optimizers = [SteppedByEngine(self._engine, wrapped)]
        local_batch_size = self._recipe.batch_size // self._world.size
        differentiate = lambda state, loss: self._engine.backward(loss)  # noqa: E731
        backward = make_backward(self._recipe, local_batch_size, differentiate=differentiate)
        return Prepared(self._engine, backward, optimizer)

    def close(self) -> None:
        self._engine.destroy()
        super().close()


make_strategy = DeepSpeed


def configuration(recipe: Recipe) -> dict[str, object]:
    """DeepSpeed's configuration for a recipe."""
    return {
        "train_micro_batch_size_per_gpu": 1,  # only for its own statistics
        "managed_gradient_accumulation": recipe.accumulation == 1,  # else it is our call of its step that ends a batch
        "zero_optimization": {"stage": recipe.parallel.zero_stage},
        "zero_allow_untested_optimizer": True,  # that is, torch's SGD
        "gradient_clipping": 0.0,  # it would be 1
        # without modules named here, gradients are reduced in float32, as they are without DeepSpeed
        "torch_autocast": {
            "enabled": recipe.precision == "autocast",
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],
        },
    }
