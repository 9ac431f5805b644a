import os
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.pipelines.data.synthetic import Mirror, handler, write_cifar_binary, write_cifar_python, write_mnist


@pytest.fixture
def real_data() -> Path:
    """The folder with the published data sets."""
    if not os.environ.get("PACELINE_DATA"):
        pytest.skip("PACELINE_DATA does not name a folder with the published data sets")
    return Path(os.environ["PACELINE_DATA"])


@pytest.fixture
def mnist_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MNIST with 40 training and 20 test images."""
    write_mnist(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def cifar_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10 in the binary layout with 20 images per batch."""
    write_cifar_binary(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def cifar_python(cifar_binary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The images of `cifar_binary` in the python layout, in a folder of their own."""
    write_cifar_python(cifar_binary, cifar_binary / "python", monkeypatch)
    return cifar_binary / "python"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Mirror]]:
    """Starts servers on this machine, each at an address of its own."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers, mirrors = [], []

    def start() -> Mirror:
        served = Mirror()
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(served))
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        served.address = f"http://127.0.0.1:{server.server_port}"
        servers.append(server)
        mirrors.append(served)
        return served

    yield start
    for served in mirrors:
        served.answers.set()  # for the thread of a request that is not answered
    for server in servers:
        server.shutdown()
        server.server_close()
