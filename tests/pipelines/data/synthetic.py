"""Small files in the layouts of the published data sets, and a server that hands them out."""

import contextlib
import hashlib
import pickle
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from pipelines.data.sources import cifar10, mnist

MNIST_SHAPES = {
    "train-images-idx3-ubyte": (40, 28, 28),
    "train-labels-idx1-ubyte": (40,),
    "t10k-images-idx3-ubyte": (20, 28, 28),
    "t10k-labels-idx1-ubyte": (20,),
}
CIFAR_IMAGES_PER_BATCH = 20


def md5(content: bytes) -> str:
    """The checksum in hexadecimal."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an idx file."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write_mnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST with 40 training and 20 test images, random pixels and labels that take turns."""
    monkeypatch.setattr(mnist, "FILE_SHAPES", MNIST_SHAPES)
    generator = np.random.default_rng(0)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, shape in MNIST_SHAPES.items():
        labels = np.arange(shape[0], dtype=np.uint8) % 10
        array = labels if len(shape) == 1 else generator.integers(0, 256, shape, dtype=np.uint8)
        (raw / name).write_bytes(idx(array))


def write_cifar_binary(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 in the binary layout with 20 random images per batch."""
    monkeypatch.setattr(cifar10, "IMAGES_PER_BATCH", CIFAR_IMAGES_PER_BATCH)
    generator = np.random.default_rng(0)
    (folder / cifar10.BINARY).mkdir(parents=True)
    for name in cifar10.MD5:
        records = generator.integers(0, 256, (CIFAR_IMAGES_PER_BATCH, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / cifar10.BINARY / f"{name}.bin").write_bytes(records.tobytes())


def write_cifar_python(binary: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images of a binary layout in the python layout, and the checksums of these pickles in place of the true."""
    (folder / cifar10.PYTHON).mkdir(parents=True)
    checksums = {}
    for name in cifar10.MD5:
        records = np.fromfile(binary / cifar10.BINARY / f"{name}.bin", np.uint8).reshape(CIFAR_IMAGES_PER_BATCH, -1)
        content = pickle.dumps({b"labels": records[:, 0].tolist(), b"data": records[:, 1:].copy()}, protocol=2)
        (folder / cifar10.PYTHON / name).write_bytes(content)
        checksums[name] = md5(content)
    monkeypatch.setattr(cifar10, "MD5", checksums)


class Mirror:
    """A server of files: what it serves, how it misbehaves, and what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.files: dict[str, bytes] = {}
        self.ranges = True
        """whether it understands Range"""
        self.break_after: int | None = None
        """close the connection after so many bytes of the next answer"""
        self.answers = Event()
        """cleared: it takes requests, and answers when this is set"""
        self.answers.set()
        self.requests: list[tuple[str, str | None]] = []
        """path and Range of every request"""

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Serve one GET."""
        asked = request.headers.get("Range")
        self.requests.append((request.path, asked))
        self.answers.wait()
        content = self.files.get(request.path.lstrip("/"))
        if content is None:
            request.send_error(404)
            return
        resumed = bool(asked and self.ranges)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if resumed else 0
        if resumed and start >= len(content):
            request.send_error(416)
            return
        request.send_response(206 if resumed else 200)
        if resumed:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        stop = None if self.break_after is None else start + self.break_after
        self.break_after = None
        request.wfile.write(content[start:stop])


def handler(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    """What http.server wants, answering for `mirror`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):  # who asked has not waited
                mirror.answer(self)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
