"""Every field of a host is captured or says why not: with fakes of the libraries' real names."""

import json
import os
import subprocess
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import joblib
import psutil
import pytest
import torch

from pipelines.host import environment, quota
from pipelines.host.unknown import unknown

CPU = torch.device("cpu")


def raising(error):
    def function(*arguments, **options):
        raise error

    return function


def test_this_machine(monkeypatch):
    monkeypatch.setattr(psutil, "getloadavg", lambda: (1.5, 0.5, 0.25))  # that of the machine moves
    captured, measured = environment.capture(CPU), environment.telemetry(CPU)
    assert captured["threads"] == {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()}
    assert captured["memory_bytes"] == psutil.virtual_memory().total
    assert captured["cpu"]["logical_cores"] == os.cpu_count()
    assert captured["cpu"]["usable_cores"] == quota.within_quota(joblib.cpu_count())
    assert captured["versions"]["torch"] == torch.__version__
    assert captured["versions"]["numpy"] == metadata.version("numpy")
    assert measured["load_average"] == [1.5, 0.5, 0.25]
    assert captured == environment.capture(CPU), "what is captured does not change by itself"
    json.dumps([captured, measured], allow_nan=False)


def test_cores_are_told_apart(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 64 if logical else 32)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    monkeypatch.setattr(quota, "cpu_quota", lambda: None)
    cpu = environment.capture(CPU)["cpu"]
    assert (cpu["logical_cores"], cpu["physical_cores"], cpu["usable_cores"]) == (64, 32, 4)


X86 = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8481C\nflags\t\t: fpu avx2 amx_bf16 avx512f amx_bf16x\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 crc32\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n"
OTHER = "processor\t: 0\nFeatures\t: fp asimd\n"


@pytest.mark.parametrize(
    ("text", "model", "flags"),
    [
        (X86, "Intel(R) Xeon(R) Platinum 8481C", ["amx_bf16", "avx2", "avx512f"]),
        (ARM, "ARM implementer 0x41 part 0xd4f", ["asimd", "bf16"]),
        (OTHER, {"unknown"}, ["asimd"]),
        ("", {"unknown"}, {"unknown"}),
    ],
)
def test_the_cpu(tmp_path, monkeypatch, text, model, flags):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(environment, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    monkeypatch.setattr(joblib, "cpu_count", lambda: 3)
    monkeypatch.setattr(quota, "cpu_quota", lambda: None)
    captured = environment.capture(CPU)
    for value, expected in ((captured["cpu"]["model"], model), (captured["cpu"]["flags"], flags)):
        assert set(value) == expected if isinstance(expected, set) else value == expected
    assert captured["machine_class"] == (f"{model}, 3 cores" if isinstance(model, str) else captured["cpu"]["model"])


@pytest.mark.parametrize(
    ("module", "name", "fake", "path"),
    [
        (psutil, "cpu_count", lambda logical=True: None, ("cpu", "physical_cores")),
        (psutil, "cpu_count", lambda logical=True: None, ("cpu", "logical_cores")),
        (joblib, "cpu_count", raising(ValueError("invalid literal")), ("cpu", "usable_cores")),
        (psutil, "virtual_memory", raising(psutil.AccessDenied()), ("memory_bytes",)),
        (environment.platform, "release", lambda: "", ("os", "kernel")),
        (environment.platform, "machine", lambda: "", ("os", "architecture")),
        (environment.platform, "freedesktop_os_release", raising(OSError("no file")), ("os", "distribution")),
        (environment.platform, "node", lambda: "", ("host_hash",)),
        (environment, "CPU_INFO", Path("/nowhere"), ("cpu", "flags")),
        (torch.backends.cudnn, "version", raising(RuntimeError("cuDNN version mismatch")), ("versions", "cudnn")),
    ],
)
def test_what_a_system_does_not_say_is_unknown(monkeypatch, module, name, fake, path):
    def field():
        value = environment.capture(CPU)
        for key in path:
            value = value[key]
        return value

    monkeypatch.setattr(module, name, fake)
    assert set(field()) == {"unknown"}
    assert field()["unknown"]


def test_no_load_average(monkeypatch):
    monkeypatch.setattr(psutil, "getloadavg", raising(OSError("not here")))
    assert environment.telemetry(CPU)["load_average"] == unknown("OSError: not here")


def test_the_machine_id_is_a_hash_of_the_systems_own_or_of_the_hosts_name(tmp_path, monkeypatch):
    def machine_id(text, host):
        monkeypatch.setattr(environment.platform, "node", lambda: host)
        (tmp_path / "machine-id").unlink(missing_ok=True)
        if text is not None:
            (tmp_path / "machine-id").write_text(text)
        return environment.capture(CPU)["machine_id"]

    monkeypatch.setattr(environment, "MACHINE_ID", tmp_path / "machine-id")
    one = machine_id("3d1219c7c4c5\n", "alice")
    assert len(one) == 16
    assert "3d1219" not in one
    assert machine_id("3d1219c7c4c5", "bob") == one
    assert machine_id("000000000000", "alice") != one
    assert machine_id(None, "alice") == machine_id("\n", "alice") != machine_id(None, "bob")
    assert set(machine_id(None, "")) == {"unknown"}


def test_versions_of_what_is_not_installed_are_none(monkeypatch):
    installed = {"accelerate": "1.2", "nvidia-dali-cuda130": "1.50"}

    def version(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(environment.metadata, "version", version)
    monkeypatch.setattr(
        environment.metadata, "distributions", lambda: [SimpleNamespace(name=name) for name in installed]
    )
    versions = environment.capture(CPU)["versions"]
    assert (versions["accelerate"], versions["deepspeed"], versions["nvidia-dali"]) == ("1.2", None, "1.50")
    del installed["nvidia-dali-cuda130"]
    assert environment.capture(CPU)["versions"]["nvidia-dali"] is None


def test_the_version_of_nccl(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 5))
    assert environment.capture(CPU)["versions"]["nccl"] == "2.27.5"
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    assert environment.capture(CPU)["versions"]["nccl"] is None


def test_only_variables_that_matter_are_kept_and_no_secrets(monkeypatch):
    for name in list(os.environ):
        monkeypatch.delenv(name)
    kept = {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "x",
        "NCCL_P2P_DISABLE": "1",
    }
    kept |= {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "ATEN_CPU_CAPABILITY": "avx2", "TORCHDYNAMO_DISABLE": "1"}
    kept |= {"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    withheld = {"ACCELERATE_TOKEN": "hunter2", "TORCH_api_key": "hunter2", "NCCL_NET": "https://me:hunter2@proxy/"}
    others = {"HOME": "/home/me", "AWS_SECRET_ACCESS_KEY": "hunter2", "MY_OMP_NUM_THREADS": "1", "WORLD_SIZES": "1"}
    for name, value in (kept | withheld | others).items():
        monkeypatch.setenv(name, value)
    variables = environment.capture(CPU)["variables"]
    assert variables == kept | dict.fromkeys(withheld, unknown("withheld: looks like a secret"))
    assert "hunter2" not in json.dumps(environment.capture(CPU))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one commit, of somebody without a configuration of their own."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "repository"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text("1")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


def head(folder: Path) -> str:
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_git_of_a_clean_and_of_a_dirty_tree(repository):
    assert environment.git_state(repository) == (head(repository), False)
    assert environment.git_state(repository / "inner") == (head(repository), False)
    (repository / "inner" / "file").write_text("2")
    assert environment.git_state(repository) == (head(repository), True)


def test_git_does_not_count_a_file_it_does_not_track(repository):
    (repository / "new").touch()
    assert environment.git_state(repository) == (head(repository), False)


def test_only_code_that_no_commit_says_is_hashed(tmp_path):
    assert environment.uncommitted_code(tmp_path, dirty=False) is None
    for dirty in (True, None):
        assert environment.uncommitted_code(tmp_path, dirty) == environment.code_digest(tmp_path)


def test_git_of_no_repository(tmp_path):
    assert environment.git_state(tmp_path) == (None, None)
    assert environment.git_state(tmp_path / "nowhere") == (None, None)


def test_git_of_a_folder_that_only_lies_in_a_repository(repository):
    """As an installed package does in an environment within somebody's project."""
    (repository / "site-packages").mkdir()
    (repository / "site-packages" / "module.py").touch()
    assert environment.git_state(repository / "site-packages") == (None, None)


def test_git_before_the_first_commit(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "file").touch()
    assert environment.git_state(tmp_path) == (None, None)
    subprocess.run(["git", "-C", str(tmp_path), "add", "file"], check=True)
    assert environment.git_state(tmp_path) == (None, True)


def test_git_is_not_led_astray_by_the_one_who_called_us(repository, tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path / "other")], check=True)
    commit = head(repository)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert environment.git_state(repository) == (commit, False)


def test_without_git(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.git_state(repository) == (None, None)


def test_a_git_that_hangs(repository, monkeypatch):
    monkeypatch.setattr(subprocess, "run", raising(subprocess.TimeoutExpired("git", 30)))
    assert environment.git_state(repository) == (None, None)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_git_of_another_users_repository(repository, monkeypatch):
    monkeypatch.delenv("SUDO_UID", raising=False)
    os.chown(repository, 12345, 12345)
    os.chown(repository / ".git", 12345, 12345)
    assert environment.git_state(repository) == (None, None)
