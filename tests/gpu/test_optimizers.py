"""Steps of optimizers whose CPU and CUDA kernels differ."""

import pytest
import torch

from pipelines.optim.sutskever_sgd import SutskeverSGD
from tests.gpu.trials import CUDA

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("nesterov", [True, False])
def test_a_step_in_half_precision_is_rounded_once(nesterov):
    generator = torch.Generator().manual_seed(0)
    weight, gradient = (torch.randn(1000, generator=generator).half() for _ in range(2))
    half, single = torch.nn.Parameter(weight.to(CUDA)), torch.nn.Parameter(weight.float())
    for parameter in (half, single):
        parameter.grad = gradient.to(parameter)
        SutskeverSGD([parameter], 0.3, 0.9, weight_decay=0.1, nesterov=nesterov).step()
    torch.testing.assert_close(half.cpu(), single.half(), rtol=torch.finfo(torch.half).eps, atol=1e-6)
