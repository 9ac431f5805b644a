import numpy as np
import pytest
import torch

from pipelines.distributed.process_group import World
from pipelines.losses import make_loss, mean_loss
from pipelines.recipe import load
from pipelines.recipe.training import Loss

LOGITS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1, 1, 2, 0, 3])


def by_the_formula(smoothing):
    """-sum of target times log-softmax for each image, the target (1 - s) on the label plus s / classes on all."""
    logits = LOGITS.double().numpy()
    log_softmax = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = (1 - smoothing) * np.eye(4)[LABELS.numpy()] + smoothing / 4
    return -(target * log_softmax).sum(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_with_label_smoothing(smoothing, reduction):
    loss = make_loss(Loss(label_smoothing=smoothing, reduction=reduction))(LOGITS, LABELS)
    assert loss.item() == pytest.approx(getattr(by_the_formula(smoothing), reduction)(), rel=1e-6)


def test_half_precision_logits_are_summed_in_float32():
    logits = LOGITS.bfloat16().requires_grad_()
    loss = make_loss(Loss(reduction="sum"))(logits, LABELS)
    assert loss.dtype == torch.float32
    assert loss.item() == make_loss(Loss(reduction="sum"))(logits.detach().float(), LABELS).item()
    loss.backward()
    assert logits.grad.dtype == torch.bfloat16


def test_mean_loss_weighs_batches_by_their_images():
    sizes = [4, 4, 1]
    sums = [torch.tensor(value) for value in (8.0, 12.0, 7.0)]
    means = [total / size for total, size in zip(sums, sizes, strict=True)]
    assert mean_loss(sums, sizes, load("digits/quick", ["loss.reduction=sum"]), World()) == pytest.approx(3)
    assert mean_loss(means, sizes, load("digits/quick", ["loss.reduction=mean"]), World()) == pytest.approx(3)
    assert mean_loss(sums[:2], sizes[:2], load("digits/quick", ["loss.reduction=sum"]), World()) == pytest.approx(2.5)
