"""Two real processes on this machine, joined by gloo."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from pipelines import recipe
from pipelines.distributed import process_group
from pipelines.distributed.process_group import World
from tests.pipelines.processes import in_processes, train_all

CPU = torch.device("cpu")
SOON = timedelta(seconds=60)
PLAIN = ["epochs=1.5", "augment.crop=0", "evaluation.batch_size=50"]


def basics(world):
    """Everything that processes do together, once."""
    values = torch.tensor([1.0 + world.rank, 10.0])
    world.barrier()
    return {
        "world": (world.rank, world.size, str(world.device), world.is_main),
        "sum": world.sum(values.clone()).tolist(),
        "maximum": world.maximum(values.clone()).tolist(),
        "shared": world.broadcast_object({"seeds": [1, 2]} if world.is_main else None),
    }


def dimensions(world):
    """The dimensions of the meshes of two processes, and what they add up."""
    found = []
    for model_size in (1, 2):
        meshed = process_group.with_mesh(world, model_size)
        value = torch.tensor(1.0 + world.rank)
        assert meshed.data is meshed.data, "the mesh is sliced once"
        assert meshed.model is meshed.model
        for one in (meshed, meshed.data, meshed.model):
            found.append((one.rank, one.size, float(one.sum(value.clone())), one.gather(world.rank)))
    return found


def test_processes_are_data_parallel_or_share_a_network(tmp_path):
    for rank, found in enumerate(in_processes(tmp_path, dimensions)):
        everyone, alone = (rank, 2, 3.0, [0, 1]), (0, 1, 1.0 + rank, [rank])
        assert found == [everyone, everyone, alone, everyone, alone, everyone]


def patience(world):
    """Seconds that the group of all processes, and those of a mesh, wait for a process."""
    meshed = process_group.with_mesh(world, 1)
    groups = (dist.group.WORLD, meshed.data.group, meshed.model.group)
    return [group._get_backend(CPU).options._timeout.total_seconds() for group in groups]


def test_the_groups_of_a_mesh_wait_as_long_as_that_of_all_processes(tmp_path):
    """torch's own default for them is half an hour."""
    assert in_processes(tmp_path, patience) == [[process_group.TIMEOUT] * 3] * 2


@dataclass(frozen=True)
class Noting(World):
    """Notes what has been done by the time that this process comes to a collective operation."""

    folder: Path = Path()
    noted: list = field(default_factory=list)

    def barrier(self):
        self.noted.append(sorted(path.name for path in self.folder.glob("* by *")))
        super().barrier()


def wait_for_main(world, folder):
    """What each process sees of what rank 0 did, which takes longer than the others take to come."""
    noting = Noting(world.rank, world.size, world.device, folder=Path(folder))

    def act(number):
        time.sleep(0.3)
        Path(folder, f"{number} by {world.rank}").touch()

    for number in range(2):
        noting.wait_for_main(lambda number=number: act(number))
    return noting.noted


def test_processes_wait_for_the_first_one_outside_of_collective_operations(tmp_path):
    for seen in in_processes(tmp_path, wait_for_main, str(tmp_path)):
        assert seen == [["0 by 0"], ["0 by 0", "1 by 0"]]


def meet(store, size):
    """The names that the processes of an attempt give it. Rank 0 comes last, so that the others find what is left."""
    with ThreadPoolExecutor(size) as threads:
        ranks = [*range(1, size), 0]
        names = [threads.submit(process_group.name_of_attempt, store, rank, size, SOON) for rank in ranks]
        return {name.result() for name in names}


def test_the_processes_of_an_attempt_meet_where_those_of_another_have_met():
    """No variable tells them that they were restarted: each machine's torchrun counts its own failures."""
    store = dist.HashStore()
    names = [meet(store, 3) for _ in range(3)]
    assert [len(found) for found in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3
    with pytest.raises(dist.DistStoreError, match="rank 0 does not answer"):
        process_group.name_of_attempt(store, 1, 3, timedelta(seconds=0.1))


def test_one_process_is_a_world_of_its_own():
    world = World()
    values = torch.ones(2)
    assert world.is_main
    assert world.sum(values) is values
    assert world.maximum(values) is values
    assert world.broadcast_object([3]) == [3]
    waited = []
    world.wait_for_main(lambda: waited.append(1))
    assert waited == [1]
    assert world.data == world.model == world
    world.barrier()
    process_group.leave()


class Alone:
    """Accelerate's state of a single process."""

    num_processes = 1

    def __init__(self, cpu):
        pass


@pytest.mark.parametrize("start", [process_group.alone, process_group.join])
def test_a_gpu_that_is_chosen_becomes_the_current_one(monkeypatch, start):
    current = []

    class Chooses(Alone):
        """As Accelerate does in a process that torchrun started."""

        def __init__(self, cpu):
            if not cpu:
                torch.cuda.set_device(torch.device("cuda", 0))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(process_group, "PartialState", Chooses)
    device = torch.device("cuda", 1)
    assert start("cuda:1") == World(device=device)
    assert current[-1] == device
    chosen = list(current)
    assert start("cpu") == World()
    assert current == chosen


def test_the_group_of_a_single_process_is_left_too(tmp_path):
    """Accelerate makes one where torchrun started the process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    process_group.leave()
    assert not dist.is_initialized()


def test_a_launcher_that_started_more_processes_is_refused(monkeypatch):
    monkeypatch.setattr(process_group, "PartialState", Alone)
    assert process_group.join("cpu") == World()
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr(process_group, "init_process_group", lambda *arguments: None)
    with pytest.raises(ValueError, match="the launcher started 4 processes, but this one, rank 0, sees 1"):
        process_group.join("cpu")


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_process_without_a_gpu_of_its_own_says_so_before_it_joins_whatever_its_rank(monkeypatch, rank):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, value in {"WORLD_SIZE": 4, "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 4}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(process_group.JoinError, match=f"^rank {rank}: 4 processes on this host and 2 visible CUDA"):
        process_group.join("auto")


@pytest.mark.parametrize(("device", "backend"), [(torch.device("cuda", 1), "nccl"), (CPU, "gloo")])
def test_the_process_group_is_made_here_and_a_gpu_connects_at_once(monkeypatch, device, backend):
    """Accelerate would hand what it does not know to DeepSpeed, which does not know it either."""
    calls = []
    for name in ("default_pg_timeout", "default_pg_nccl_timeout"):
        monkeypatch.setattr(distributed_c10d, name, None)
    monkeypatch.setattr(
        process_group.dist, "init_process_group", lambda *names, **options: calls.append((names, options))
    )
    process_group.init_process_group(device, 1, 2, 30.0)
    ((names, options),) = calls
    assert names == (backend,)
    assert options["device_id"] == (device if device.type == "cuda" else None)
    limits = [options["timeout"], distributed_c10d.default_pg_timeout, distributed_c10d.default_pg_nccl_timeout]
    assert [limit.total_seconds() for limit in limits] == [30] * 3


def work(world, jobs):
    return basics(world), train_all(world, jobs)


@pytest.mark.slow
def test_two_processes_agree_and_train_as_one_does(tmp_path, digits, coloured):
    """Without augmentation and norms, which are each process's own, the weights are those of one process.

    Of 31 test images in batches of 5, one process has four batches and the other three. The norms' statistics are
    buffers, which a replicated network may broadcast at every forward pass: nobody waits for ever.
    """
    mean = recipe.load("digits/quick", PLAIN)
    summed = recipe.load("digits/quick", [*PLAIN, "loss={reduction: sum, label_smoothing: 0.1}"])
    augmented = recipe.load("digits/quick", [*PLAIN, "augment={crop: 1, flip: random}", "evaluation.tta=flip"])
    small = ["model.widths=[4,4,6,8]", "model.whitening.images=40", "batch_size=16", "epochs=2", "precision=float32"]
    normed = recipe.load("cifar10/davidnet-10", [*small, "evaluation.batch_size=5"])
    uneven = replace(
        coloured,
        test_images=np.concatenate([coloured.test_images, coloured.test_images[:1]]),
        test_labels=np.append(coloured.test_labels, coloured.test_labels[0]),
    )
    jobs = [(mean, digits), (summed, digits), (augmented, digits), (normed, uneven)]
    alone = train_all(World(), jobs)
    (first_basics, first_trained), (second_basics, second_trained) = in_processes(tmp_path, work, jobs)
    assert (first_basics["world"], second_basics["world"]) == ((0, 2, "cpu", True), (1, 2, "cpu", False))
    assert first_basics["sum"] == second_basics["sum"] == [3, 20]
    assert first_basics["maximum"] == second_basics["maximum"] == [2, 10]
    assert first_basics["shared"] == second_basics["shared"] == {"seeds": [1, 2]}
    for (chosen, _), one, first, second in zip(jobs, alone, first_trained, second_trained, strict=True):
        for name, weight in first["weights"].items():
            assert "running" in name or torch.equal(weight, second["weights"][name])
        for key in ("losses", "accuracies", "laps"):
            assert first[key] == second[key]
        assert sorted(first["evaluated"] + second["evaluated"]) == pytest.approx(sorted(one["evaluated"]))
        assert first["laps"] == [max(pair) for pair in zip(first["own"], second["own"], strict=True)]
        assert first["samples"] == one["samples"]
        if chosen in (mean, summed):
            for name, weight in one["weights"].items():
                difference = (first["weights"][name] - weight).norm()
                # not element by element: on which side of a ReLU's zero a pixel falls may depend on the rounding
                assert difference < 0.01 * weight.norm(), name
            assert first["losses"] == pytest.approx(one["losses"], rel=1e-3)
            assert first["accuracies"] == pytest.approx(one["accuracies"], abs=0.006)
