import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import data
from pipelines.data.fingerprint import fingerprint
from pipelines.data.sources import mnist
from tests.pipelines.data.synthetic import write_mnist

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mnist_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MNIST with 40 training and 20 test images."""
    write_mnist(tmp_path, monkeypatch)
    return tmp_path


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(ROOT / "bench/data.py"), *arguments], capture_output=True, text=True, env=environment
    )


def test_help_does_not_wait_for_torch() -> None:
    script = [sys.executable, "-X", "importtime", str(ROOT / "bench/data.py"), "--help"]
    done = subprocess.run(script, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0
    assert "--verify" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert "torch" not in imported


def test_digits() -> None:
    done = command("digits", "--verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits: ok" in done.stdout
    assert "1,437 (139 to 146 per class)" in done.stdout


def test_missing_data_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = command("--verify", "mnist", "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"bench/data.py: error: mnist is not in {tmp_path}: missing MNIST/raw/train-images")
    assert done.stderr.count("\n") == 1


def test_unknown_name() -> None:
    done = command("imagenet")
    assert done.returncode == 2
    assert "there is no data set 'imagenet': use one of cifar10, cifar100, digits, " in done.stderr


def test_the_others_are_still_verified(
    mnist_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mnist, "FINGERPRINT", fingerprint(mnist.read(mnist_folder)))
    monkeypatch.setenv("PACELINE_DATA", str(mnist_folder))
    assert data.main(["cifar10", "mnist", "--verify"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("bench/data.py: error: cifar10 is not in")
    assert "mnist: ok" in captured.out
    assert f"folder    {mnist_folder}/MNIST/raw" in captured.out
    assert "train     40 (4 to 4 per class)" in captured.out
    assert "images    28 x 28 x 1, 10 classes" in captured.out


def test_images_that_are_not_the_published_ones(mnist_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data.main(["mnist", "--verify", "--data-dir", str(mnist_folder)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "mnist: its images or labels are not the published ones (SHA-256 " in captured.err
