"""Short trials of the shipped recipes on a fake CUDA device: what would fail or wait on a GPU fails here."""

import json
import os
import statistics
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from filelock import FileLock

from kernels.triton_import import triton
from pipelines import recipe as recipes
from pipelines.recipe.schema import DESCRIPTIVE
from tests.fake_cuda import device
from tests.fake_cuda.bounds import EXTRA, EXTRA_OF, LAUNCHES, TABLE, summary
from tests.fake_cuda.meant import MEANT
from tests.fake_cuda.simulate import NEVER_ENDING

REPOSITORY = Path(__file__).resolve().parents[2]
ONE_OF_A_KIND = {
    "cifar10/airbench94", "cifar10/airbench94-muon", "cifar10/airbench96", "cifar10/airbench96-faster",
    "cifar10/davidnet-10", "cifar10/davidnet-80", "cifar10/ddp/accumulated", "cifar10/ddp/growing-batch",
    "cifar10/ddp/lamb", "cifar10/ddp/lars", "cifar10/ddp/sync-norm", "cifar10/deepspeed/zero-1", "cifar10/e1",
    "cifar10/hiverge", "cifar10/hlb", "cifar10/ladder/00-resnet18", "cifar10/ladder/03-choices-in-bulk",
    "cifar10/ladder/09-davidnet", "cifar10/loaders/bulk", "cifar10/loaders/torchvision", "digits/quick",
    "mnist/augment-affine", "mnist/augment-cutout", "mnist/augment-elastic", "mnist/augment-mixup",
    "mnist/base", "mnist/contrastive-probe", "mnist/distillation-features", "mnist/fixmatch", "mnist/full/fast",
    "mnist/full/pytorch-example", "mnist/init-orthogonal", "mnist/large-batch/accumulated",
    "mnist/masked-image", "mnist/mean-teacher", "mnist/pretrained-frozen", "mnist/progressive-dropout",
    "mnist/schedule-plateau", "mnist/self-training-restart", "mnist/weighted-sampling",
    "throughput/gpt2-124m", "throughput/resnet18-cifar",
}  # fmt: skip
"""Recipes that between them make most choices."""
WITH_KERNELS = {
    "cifar10/airbench94-muon", "cifar10/davidnet-10", "cifar10/ddp/lamb", "cifar10/ddp/sync-norm", "cifar10/e1",
    "cifar10/ladder/00-resnet18", "cifar10/loaders/bulk", "cifar10/loaders/torchvision", "digits/quick",
    "mnist/augment-mixup", "mnist/base", "mnist/large-batch/accumulated",
}  # fmt: skip
"""Of these, some that between them call every kernel: all that `kernels: reference` changes"""
NAMES = {"auto": sorted(ONE_OF_A_KIND), "reference": sorted(WITH_KERNELS)}
"""by the recipe's `kernels`"""


def choices(name):
    """What decides which operations run: not the values of numbers, nor how long and on how much is trained."""
    numbers = {"title", "target", "epochs", "batch_size", "schedule", "scaling", "parallel", "kernels", "compile"}
    return set(leaves(recipes.load(name).model_dump(mode="json", exclude=numbers | DESCRIPTIVE)))


def leaves(value, path=()):
    """Every option and its value. Of a number, whether it is 0."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, bool(value) if isinstance(value, int | float) else value


def others():
    """The remaining recipes that make a choice which none before them makes."""
    seen, chosen = set().union(*map(choices, ONE_OF_A_KIND)), []
    for name in recipes.names():
        if name not in NEVER_ENDING and not choices(name) <= seen:
            seen |= choices(name)
            chosen.append(name)
    return chosen


pytestmark = pytest.mark.skipif(device.missing() is not None, reason=f"fake CUDA: {device.missing()}")
needs_triton = pytest.mark.skipif(triton is None, reason="counts Triton's programs, and Triton is not installed")
each = pytest.mark.parametrize(
    ("kernels", "names"),
    [
        *(pytest.param(kernels, names, id=f"{kernels}-one of a kind") for kernels, names in NAMES.items()),
        pytest.param("auto", others(), marks=pytest.mark.slow, id="auto-others"),
    ],
)


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """What the recipes did, made once for all workers of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def made(kernels, names):
        path = folder / f"fake-cuda-{kernels}-{zlib.crc32(' '.join(names).encode()):08x}.json"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                command = [sys.executable, "-m", "tests.fake_cuda.simulate", kernels, path, *names]
                done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
        return json.loads(path.read_text())

    return made


def findings(reports, *kinds):
    """Those that are not meant."""
    return {
        f"{report['recipe']}: {found['kind']} in {found['lap']}: {found['what']} at {found['where']}"
        for report in reports
        for found in report["findings"]
        if found["kind"] in kinds
        and found["lap"] != "set_up"
        and (found["kind"], found["lap"], found["where"].partition(":")[0]) not in MEANT
    }


@each
def test_every_recipe_trains(reports, kernels, names):
    errors = {report["recipe"]: report["error"] for report in reports(kernels, names) if report["error"]}
    assert errors == {}
    assert all(min(report["launches"]) > 0 for report in reports(kernels, names))


@each
def test_no_operation_mixes_devices(reports, kernels, names):
    assert findings(reports(kernels, names), "device", "triton") == set()


@each
def test_the_host_waits_where_it_is_meant_to(reports, kernels, names):
    assert findings(reports(kernels, names), "sync", "unpinned") == set()


@each
def test_an_evaluation_waits_once(reports, kernels, names):
    for report in reports(kernels, names):
        waits = sum(found["times"] for found in report["findings"] if found["lap"] in ("evaluate", "final_evaluate"))
        assert waits <= sum(report["laps"].get(lap, 0) for lap in ("evaluate", "final_evaluate")), report["recipe"]


@each
def test_images_keep_their_layout_between_convolutions(reports, kernels, names):
    assert findings(reports(kernels, names), "layout") == set()


@each
def test_operations_over_lists_take_one_pass(reports, kernels, names):
    assert findings(reports(kernels, names), "lists") == set()


@each
def test_weights_and_statistics_have_the_documented_dtypes(reports, kernels, names):
    assert [wrong for report in reports(kernels, names) for wrong in report["wrong_dtypes"]] == []


@needs_triton
def test_launches_of_a_step_stay_within_their_bounds(reports):
    steps = {report["recipe"]: report["launches"][1:] for report in reports("auto", NAMES["auto"])}
    typical = {name: statistics.median(launches) for name, launches in steps.items()}
    assert {name: typical[name] for name, most in LAUNCHES.items() if typical[name] > most} == {}
    most = {name: typical[name] + EXTRA_OF.get(name, EXTRA) for name in steps}
    assert {name for name, launches in steps.items() if max(launches) > most[name]} == set()


@needs_triton
def test_the_table_of_launches_is_what_the_recipes_do(reports):
    """So that a change that doubles them is seen: python -m tests.fake_cuda.launch_table writes it anew."""
    table = json.loads(TABLE.read_text())["recipes"]
    for kernels, names in NAMES.items():
        found = {report["recipe"]: summary(report["launches"]) for report in reports(kernels, names)}
        assert found == {name: table.get(name, {}).get(kernels) for name in found}


def test_a_step_launches_no_more_than_that_of_its_author():
    table = json.loads(TABLE.read_text())
    ours = table["recipes"]["cifar10/airbench94-muon"]["auto"]["typical"]
    assert ours <= 1.1 * table["authors"]["airbench94_muon.py"]["typical"]


def test_what_is_meant_still_happens(reports):
    """So that the list does not keep what has been mended."""
    seen = {
        (found["kind"], found["lap"], found["where"].partition(":")[0])
        for kernels, names in NAMES.items()
        for report in reports(kernels, names)
        for found in report["findings"]
    }
    assert MEANT.keys() - seen == set()


@needs_triton
def test_triton_programs_compile_for_the_signatures_they_are_called_with(reports, tmp_path):
    """Each for one architecture, and each program with each types for all of them."""
    made = reports("auto", NAMES["auto"])
    signatures = {json.dumps(signature) for report in made for signature in report["signatures"]}
    (tmp_path / "signatures.json").write_text(f"[{','.join(sorted(signatures))}]")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fake_cuda.ahead_of_time", tmp_path / "signatures.json"],
        cwd=REPOSITORY,
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
