"""Between the training loop and torch's optimizers: learning rates, master weights, the scale of the loss."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipelines.optim.tensor_lists import cast


class ScheduledOptimizer:
    """Optimizers whose learning rates come from tables, one factor a step for each role."""

    def __init__(
        self, optimizers: Sequence[torch.optim.Optimizer], factors: dict[str, list[float]], loss_scale: float = 1.0
    ) -> None:
        self.optimizers = optimizers
        self._groups = [(group, factors[group["role"]]) for one in optimizers for group in one.param_groups]
        # the gradient of the loss itself, which torch would make anew at every step
        devices = [parameter.device for group, _ in self._groups for parameter in group["params"]]
        self._seed = torch.full((), loss_scale, dtype=torch.float32, device=devices[0] if devices else "cpu")

    def backward(self, loss: Tensor) -> None:
        """Leave the gradients of the loss, times the scale that `step` expects, in the parameters."""
        loss.backward(self._seed.to(loss.dtype))

    def step(self, step: int) -> None:
        """Step number `step` of the training, from 0; gradients are dropped."""
        for group, factors in self._groups:
            group["lr"] = group["base_lr"] * factors[step]
        self._update()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def _update(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def notes(self) -> dict[str, object]:
        """For the record, once the training has ended: may wait for the device."""
        return {}

    def scale_rates(self, factor: float) -> None:
        """From the next step on, every learning rate is this times what it would have been."""
        for group, _ in self._groups:
            group["base_lr"] *= factor

    def master_tensors(self, network: nn.Module) -> list[Tensor]:
        """What an average is taken over: the network's floating-point parameters and buffers, in full precision."""
        return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]

    def copy_to_model(self) -> None:
        """Carry changes of the master_tensors tensors into the network."""

    def reset(self) -> None:
        """Begin anew from the network as it is now, every momentum forgotten."""
        for optimizer in self.optimizers:
            optimizer.state.clear()


class WrappedOptimizer(ScheduledOptimizer):
    """Stands between the loop and another optimizer: what it does not do itself, that one does."""

    def __init__(self, inner: ScheduledOptimizer) -> None:
        self.inner = inner
        self.optimizers = inner.optimizers
        self.scale_rates, self.master_tensors = inner.scale_rates, inner.master_tensors
        self.copy_to_model, self.reset = inner.copy_to_model, inner.reset
        self.notes = inner.notes

    def backward(self, loss: Tensor) -> None:
        self.inner.backward(loss)


class MasterWeightOptimizer(ScheduledOptimizer):
    """Steps float32 masters of half-precision parameters.

    pairs: (parameter, its float32 master); divisor: of the gradients, once they are float32. Mixed precision with
    master weights and a scaled loss: Micikevicius et al. 2018.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        factors: dict[str, list[float]],
        pairs: list[tuple[nn.Parameter, nn.Parameter]],
        loss_scale: float = 1.0,
        divisor: float = 1.0,
    ) -> None:
        super().__init__(optimizers, factors, loss_scale)
        self._divisor = divisor
        self.pairs = pairs
        self.parameters = [parameter for parameter, _ in pairs]
        self.masters = [master for _, master in pairs]

    def step(self, step: int) -> None:
        trained = [(parameter, master) for parameter, master in self.pairs if parameter.grad is not None]
        gradients = cast([parameter.grad for parameter, _ in trained], torch.float32)
        for (parameter, master), gradient in zip(trained, gradients, strict=True):
            parameter.grad, master.grad = None, gradient
        super().step(step)
        self.copy_to_model()

    def master_tensors(self, network: nn.Module) -> list[Tensor]:
        masters = dict(zip(self.parameters, self.masters, strict=True))
        tensors = network.state_dict(keep_vars=True).values()
        return [masters.get(tensor, tensor).detach() for tensor in tensors if tensor.is_floating_point()]

    @torch.no_grad()
    def reset(self) -> None:
        super().reset()
        torch._foreach_copy_(self.masters, self.parameters)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        torch._foreach_copy_(self.parameters, self.masters)

    def _update(self) -> None:
        if self._divisor != 1:
            torch._foreach_div_(
                [p.grad for group, _ in self._groups for p in group["params"] if p.grad is not None], self._divisor
            )
        super()._update()


class GradScalerOptimizer(MasterWeightOptimizer):
    """Leaves out steps whose gradients are not finite, and lowers the scale of the loss after them: torch's GradScaler.

    On CUDA, optimizers that are not torch's fused ones wait for the device at each step.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        factors: dict[str, list[float]],
        pairs: list[tuple[nn.Parameter, nn.Parameter]],
    ) -> None:
        super().__init__(optimizers, factors, pairs)
        self.scaler = torch.amp.GradScaler(self._seed.device.type)
        self._overflows = torch.zeros((), device=self._seed.device)
        self._zero_momenta()

    def notes(self) -> dict[str, object]:
        """How many steps of an optimizer were left out, and the scale now."""
        return {"loss_scaling": {"overflows": int(self._overflows), "scale": self.scaler.get_scale()}}

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()

    def reset(self) -> None:
        super().reset()
        self._zero_momenta()

    def _zero_momenta(self) -> None:
        """torch's fused SGD (2.13) makes its momenta in its first step, and does not set them where it is left out."""
        for optimizer in self.optimizers:
            groups = optimizer.param_groups if isinstance(optimizer, torch.optim.SGD) else ()
            for parameter in (one for group in groups if group["momentum"] for one in group["params"]):
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def _update(self) -> None:
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
            self._overflows += sum(self.scaler._found_inf_per_device(optimizer).values())
            self.scaler.step(optimizer)
        self.scaler.update()
