from dataclasses import dataclass

import pytest
import torch

from pipelines.distributed.process_group import World
from pipelines.evaluate import VIEWS, View, batches, evaluate
from pipelines.recipe.training import Evaluation

CLASSES = 5
MIXING = torch.randn(3 * 4 * 4, CLASSES, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class OneOfMany(World):
    """One process, looked at alone: what it would add to the sum."""

    def sum(self, values):
        return values


def forward(images):
    return images.flatten(1) @ MIXING


def draw(count):
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 3, 4, 4, generator=generator), torch.randint(CLASSES, (count,), generator=generator)


def expected_accuracies(images, labels):
    plain, flipped = forward(images), forward(images.flip(3))
    return [((logits.argmax(1) == labels).sum() / len(labels)).item() for logits in ((plain + flipped) / 2, plain)]


@pytest.mark.parametrize("count", [1, 7, 24, 25])
@pytest.mark.parametrize("batch_size", [1, 4, 8, 100])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_image_is_counted_once(count, batch_size, world_size):
    images, labels = draw(count)
    seen = []

    def watched(batch):
        assert len(batch) <= batch_size
        seen.extend(batch[:, 0, 0, 0].tolist())
        return forward(batch)

    config = Evaluation(batch_size=batch_size)
    parts = [evaluate(watched, images, labels, config, OneOfMany(rank, world_size)).plain for rank in range(world_size)]
    assert seen == images[:, 0, 0, 0].tolist()
    correct = (forward(images).argmax(1) == labels).sum().item()
    assert sum(parts) * count == pytest.approx(correct)


@pytest.mark.parametrize("tta", ["none", "flip"])
def test_accuracy_with_and_without_augmentation(tta):
    images, labels = draw(200)
    with_flip, plain = expected_accuracies(images, labels)
    assert with_flip != plain
    found = evaluate(forward, images, labels, Evaluation(tta=tta, batch_size=64), World())
    assert (found.with_tta, found.plain) == pytest.approx((with_flip if tta == "flip" else plain, plain))


@pytest.mark.parametrize("world_size", [1, 2])
def test_the_accuracy_of_each_class(world_size):
    images, labels = draw(60)
    parts = [evaluate(forward, images, labels, Evaluation(), OneOfMany(rank, world_size)) for rank in range(world_size)]
    right = forward(images).argmax(1) == labels
    for name in range(len(parts[0].by_class)):
        of_class = labels == name
        found = [part.by_class[name] for part in parts]
        assert (
            found == [None] * world_size
            if not of_class.any()
            else sum(found) == pytest.approx(right[of_class].float().mean().item())
        )


def test_flip_is_the_mean_of_the_logits_and_not_of_the_votes():
    """One image: the class that neither side likes best wins, because both like it well."""
    sides = {0.0: [3.0, 2.0, 0.0], 1.0: [0.0, 2.0, 3.0]}
    image = torch.tensor([[[[0.0, 1.0]]]])
    logits = lambda batch: torch.tensor([sides[batch[0, 0, 0, 0].item()]])  # noqa: E731
    found = evaluate(logits, image, torch.tensor([1]), Evaluation(tta="flip"), World())
    assert (found.with_tta, found.plain) == (1, 0)


def test_half_precision_logits_are_added_in_float32():
    """Their mean in bfloat16 would be a tie, which the wrong class wins."""
    sides = {0.0: [256.0, 256.0], 1.0: [256.0, 258.0]}
    image = torch.tensor([[[[0.0, 1.0]]]])
    logits = lambda batch: torch.tensor([sides[batch[0, 0, 0, 0].item()]], dtype=torch.bfloat16)  # noqa: E731
    found = evaluate(logits, image, torch.tensor([1]), Evaluation(tta="flip"), World())
    assert (found.with_tta, found.plain) == (1, 0)


@pytest.mark.parametrize("views", VIEWS.values(), ids=VIEWS.keys())
def test_weights_of_the_views_sum_to_one(views):
    assert sum(view.weight for view in views) == pytest.approx(1)
    images, _ = draw(3)
    assert torch.equal(views[0](images), images)


def test_the_recipe_knows_every_augmentation():
    assert set(VIEWS) == set(Evaluation.model_fields["tta"].annotation.__args__)


def test_nothing_is_recorded_for_a_backward_pass():
    images, labels = draw(4)
    weight = MIXING.clone().requires_grad_()

    def watched(batch):
        logits = batch.flatten(1) @ weight
        assert not logits.requires_grad
        return logits

    evaluate(watched, images, labels, Evaluation(), World())


def test_only_the_least_certain_share_gets_more_views():
    images, labels = draw(40)
    batches = []

    def watched(batch):
        batches.append(batch)
        return forward(batch)

    evaluate(watched, images, labels, Evaluation(tta="flip", tta_share=0.25), World())
    first, second = batches
    assert torch.equal(first, images)
    certainty = forward(images).softmax(1).amax(1)
    expected = images[certainty.argsort()[:10]].flip(3)
    assert sorted(second.flatten(1).sum(1).tolist()) == sorted(expected.flatten(1).sum(1).tolist())


def test_a_shifted_view_moves_the_image_and_reflects_what_comes_in():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), "reflect")
    assert torch.equal(View(1.0, shift=1)(image), padded[:, :, :3, :3])
    assert torch.equal(View(1.0, shift=-1)(image), padded[:, :, 2:, 2:])
    assert torch.equal(View(1.0, flip=True, shift=1)(image), padded[:, :, :3, :3].flip(3))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 25])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_all_processes_call_the_network_equally_often_in_an_evaluation(count, size, share):
    calls = [0] * size
    images, labels = torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1), torch.zeros(count, dtype=torch.long)
    for rank in range(size):

        def forward(batch, rank=rank):
            calls[rank] += 1
            return torch.cat([batch.flatten(1), -batch.flatten(1)], 1)

        evaluate(forward, images, labels, Evaluation(tta="flip", tta_share=share, batch_size=4), OneOfMany(rank, size))
    assert len(set(calls)) == 1


def test_one_process_has_the_batches_that_it_would_have_alone():
    images = torch.arange(10)
    assert [len(batch) for batch in batches(images, 4, 10)] == [4, 4, 2]
    assert [len(batch) for batch in batches(images[:8], 4, 9)] == [4, 4, 0]
