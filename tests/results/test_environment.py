"""The environment of a run: typed, each field a value or the reason why it is unknown."""

import json
import math

import pytest
from pydantic import ValidationError

from results.environment import Environment, Unknown, known

GPU = {"index": 0, "name": "NVIDIA H200", "power_limit_w": 700.0, "mig": False, "driver": {"unknown": "NVML"}}
CAPTURED = {
    "machine_id": "0123",
    "machine_class": {"unknown": "OSError: no /proc/cpuinfo"},
    "device": "cuda:0",
    "cpu": {"model": "a CPU", "usable_cores": {"unknown": "no quota"}, "flags": ["avx2"]},
    "threads": {"intra_op": 8, "inter_op": 1},
    "gpus": [GPU],
    "versions": {"torch": "2.13.0", "cudnn": 91900, "nccl": None, "deepspeed": {"unknown": "broken"}},
    "variables": {"OMP_NUM_THREADS": "8", "NCCL_TOKEN": {"unknown": "withheld: looks like a secret"}},
    "before": {"load_average": [1.0, 0.5, 0.1], "gpus": [{"index": 0, "throttle_reasons": []}]},
}


def test_what_was_captured_comes_back_and_nothing_else():
    environment = Environment.model_validate(CAPTURED)
    assert environment.model_dump(mode="json") == CAPTURED
    assert Environment.model_validate_json(environment.model_dump_json()) == environment


def test_an_unknown_field_has_its_reason():
    environment = Environment.model_validate(CAPTURED)
    assert environment.machine_class == Unknown(unknown="OSError: no /proc/cpuinfo")
    assert known(environment.machine_class) is None
    assert known(environment.gpus[0].driver) is None
    assert known(environment.gpus[0].name) == "NVIDIA H200"
    assert known(environment.os) is None, "never captured"


@pytest.mark.parametrize(
    ("device", "flags", "expected"),
    [
        ("cpu", ["avx2"], "AMD EPYC, AVX2"),
        ("cpu", ["avx2", "avx512f"], "AMD EPYC, AVX-512"),
        ("cpu", ["avx2", "avx512_bf16", "avx512f"], "AMD EPYC, AVX-512 BF16"),
        ("cpu", ["amx_bf16", "avx2", "avx512_bf16", "avx512f"], "AMD EPYC, AMX"),
        ("cpu", [], "AMD EPYC"),
        ("cpu", {"unknown": "no /proc"}, "AMD EPYC"),
        ("cuda:0", ["avx2"], "AMD EPYC"),
    ],
)
def test_a_cpu_is_named_with_its_vector_instructions(device, flags, expected):
    found = Environment.model_validate({"machine_class": "AMD EPYC", "device": device, "cpu": {"flags": flags}})
    assert found.machine == expected


def test_a_machine_that_is_not_known_has_no_name():
    assert Environment.model_validate(CAPTURED).machine is None
    assert Environment(machine_class="a CPU", device="cpu").machine == "a CPU"


def test_fields_of_later_versions_are_kept_as_json():
    later = Environment.model_validate({"weather": {"rain": (1, math.nan)}})
    assert later.model_dump(mode="json") == {"weather": {"rain": [1, "NaN"]}}


@pytest.mark.parametrize(
    ("field", "value"),
    [("machine_class", 7), ("threads", {"intra_op": "many", "inter_op": 1}), ("gpus", "none"), ("train_flops", "many")],
)
def test_a_field_of_another_type_is_refused_by_name(field, value):
    with pytest.raises(ValidationError, match=field):
        Environment.model_validate({field: value})


def test_pipelines_capture_what_the_record_declares():
    """Every field that `pipelines/host/environment.py` writes is one of the model's, down to each part."""
    torch = pytest.importorskip("torch")
    from pipelines.host import environment as host

    captured = json.loads(
        json.dumps(host.capture(torch.device("cpu")) | {"before": host.telemetry(torch.device("cpu"))})
    )
    read = Environment.model_validate(captured)
    assert read.model_dump(mode="json") == captured
    parts = [read, read.os, read.cpu, read.threads, read.before]
    assert [part.model_extra for part in parts] == [{}] * len(parts)
