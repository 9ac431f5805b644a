"""DeepSpeed: ZeRO shares out the optimizer's state, the gradients and the weights, as far as `zero_stage` says
(Rajbhandari et al. 2020, arXiv 1910.02054).

DeepSpeed is given a torch optimizer and no schedule: our stepper writes the learning rates into the optimizer's groups.
DeepSpeed 0.19.8 never frees what it made of a network under ZeRO-3, about two and a half times its weights a trial.
"""

import copy
import logging
import os
import warnings
from typing import Any

import torch
from torch import nn

from pipelines import strategies
from pipelines.distributed.process_group import World
from pipelines.host.extras import require
from pipelines.recipe import Recipe
from pipelines.strategies import MakeOptimizer, Shared, accumulation


class SteppedByEngine:
    """DeepSpeed's engine in the place of the optimizer that it wraps."""

    def __init__(self, engine: Any, optimizer: torch.optim.Optimizer) -> None:
        self._engine = engine
        self.param_groups = optimizer.param_groups

    def step(self) -> None:
        self._engine.step()

    def zero_grad(self, set_to_none: bool) -> None:
        """Nothing: the engine's step has dropped the accumulation."""


def backward_of(engine: Any) -> accumulation.Differentiate:
    """DeepSpeed's own backward pass, which exchanges gradients."""
    return lambda state, loss: engine.backward(loss)


class Engine:
    """`deepspeed.initialize` with DeepSpeed's own choices but for those in `configuration`."""

    def __init__(self, recipe: Recipe, world: World) -> None:
        os.environ.setdefault("DS_ACCELERATOR", world.device.type)
        self._deepspeed = require("deepspeed", "deepspeed")
        if world.device.type == "cpu":
            # it would be compiled, in half a minute and by a compiler that must be there, for inference alone
            require("deepspeed.ops", "deepspeed").__compatible_ops__["deepspeed_shm_comm"] = False
        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # it warns of every optimizer but its own
        warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)  # DeepSpeed 0.19.8
        self._recipe = recipe
        self._world = world

    def whole(self, outline: nn.Module) -> nn.Module:
        network = copy.deepcopy(outline).to_empty(device=self._world.device)
        return network.to(memory_format=torch.contiguous_format)  # it flattens weights

    def share(self, network: nn.Module, make_stepper: MakeOptimizer) -> Shared:
        stepper = make_stepper(network)
        (optimizer,) = stepper.optimizers
        engine, *_ = self._deepspeed.initialize(model=network, optimizer=optimizer, config=configuration(self._recipe))
        stepper.optimizers = [SteppedByEngine(engine, optimizer)]
        local_batch_size = self._recipe.batch_size // self._world.size
        backward = accumulation.make_backward(self._recipe, network, local_batch_size, backward_of(engine))
        return Shared(engine, backward, stepper, strategies.strategy_of(engine), close=engine.destroy)


def configuration(recipe: Recipe) -> dict[str, object]:
    """DeepSpeed's configuration for a recipe."""
    return {
        "train_micro_batch_size_per_gpu": 1,  # only for its own statistics
        "managed_gradient_accumulation": recipe.accumulation == 1,  # else it is our call of its step that ends a batch
        "zero_optimization": {"stage": recipe.parallel.zero_stage},
        "zero_allow_untested_optimizer": True,  # that is, torch's SGD
        "gradient_clipping": 0.0,  # it would be 1
        # without modules named here, gradients are exchanged in float32, as they are without DeepSpeed
        "torch_autocast": {
            "enabled": recipe.precision == "autocast",
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],
        },
    }
