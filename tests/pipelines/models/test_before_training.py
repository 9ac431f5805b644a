"""What is fitted or drawn before the training does not depend on threads, processes or chunks."""

import numpy as np
import pytest
import torch

from kernels import choice, whiten
from pipelines.models.initialization import METHODS, initialize_convolution, initialize_head
from pipelines.models.layers import PatchWhitening, with_fixed_signs
from pipelines.recipe import load
from pipelines.recipe.networks import Whitening
from pipelines.recipe.training import Initialization
from pipelines.train import run_trial, set_up
from tests.pipelines.processes import in_processes


def natural_images(count=600):
    """Smooth random images, whose patches have eigenvalues over five orders of magnitude, some of them very close."""
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((count, 35, 35, 3))
    for axis in (1, 2):
        noise = sum(np.roll(noise, shift, axis) for shift in range(4))
    mixed = noise[:, 3:, 3:] @ np.array([[1, 0.9, 0.8], [0, 0.2, 0.1], [0, 0, 0.1]])
    return torch.from_numpy(mixed / mixed.std()).float()


def fitted(images):
    layer = PatchWhitening(3, Whitening(images=len(images), both_signs=True))
    layer.fit(images)
    return layer.weight.detach().clone()


def with_threads(count, action):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return action()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("version", ["reference", "fast"])
def test_whitening_depends_neither_on_threads_nor_on_chunks_nor_on_the_kernel(version, monkeypatch):
    images = natural_images()
    monkeypatch.setattr(choice, "_version", None)
    expected = with_threads(1, lambda: fitted(images))
    choice.use(version)
    for threads in (1, 2):
        for chunk in (1000, 77):
            monkeypatch.setattr(whiten.patch_covariance, "__defaults__", (chunk,))
            found = with_threads(threads, lambda: fitted(images))
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * expected.abs().max().item())


def test_the_order_of_the_images_does_not_matter_to_whitening():
    images = natural_images()
    expected = fitted(images)
    torch.testing.assert_close(fitted(images.flip(0)), expected, rtol=0, atol=1e-6 * expected.abs().max().item())


def test_the_sign_of_an_eigenvector_follows_from_its_direction():
    vectors = torch.tensor([[0.1, -0.6, 0.61, 0.2], [-0.9, 0.1, 0.1, 0.1], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    expected = vectors * torch.tensor([-1.0, -1.0, 1.0])[:, None]
    assert torch.equal(with_fixed_signs(vectors), expected)
    assert torch.equal(with_fixed_signs(-vectors), expected)


@pytest.mark.parametrize("method", METHODS)
def test_initial_weights_do_not_depend_on_threads(method):
    def drawn():
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(512, 256, 3, 3))
        initialize_convolution(weight, Initialization(convolutions=method))
        return weight.detach()

    torch.testing.assert_close(with_threads(2, drawn), with_threads(1, drawn), rtol=0, atol=1e-8)


def test_the_initial_head_does_not_depend_on_threads():
    def drawn():
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(100, 4096))
        initialize_head(weight, Initialization(head="unit_std"))
        return weight.detach()

    torch.testing.assert_close(with_threads(2, drawn), with_threads(1, drawn), rtol=0, atol=1e-6)


def test_orthogonal_filters_are_torch_s_up_to_rounding():
    for shape in ((8, 3, 3, 3), (64, 3, 3, 3)):
        torch.manual_seed(0)
        expected = torch.nn.init.orthogonal_(torch.empty(shape))
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.empty(shape))
        initialize_convolution(weight, Initialization(convolutions="orthogonal"))
        torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=1e-5)


class FirstWeights:
    def trial_start(self, state):
        self.weight = state.network.whiten.weight.detach().clone()


def whitened(world, dataset):
    """The whitening that a trial begins with; with two processes, each computes with other threads."""
    small = ["model.widths=[4,4,6,8]", "model.whitening.images=80", "batch_size=16", "epochs=0.2", "precision=float32"]
    observer = FirstWeights()
    torch.set_num_threads(1 + world.rank)
    run_trial(set_up(load("cifar10/davidnet-10", small), dataset, world), seed=0, observers=[observer])
    return observer.weight


@pytest.mark.slow
def test_two_processes_begin_with_the_whitening_of_one(tmp_path, coloured):
    from pipelines.distributed.process_group import World

    alone = with_threads(1, lambda: whitened(World(), coloured))
    first, second = in_processes(tmp_path, whitened, coloured)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone, rtol=0, atol=1e-6 * alone.abs().max().item())
