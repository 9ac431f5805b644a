"""The host as a run has it: all threads, freed memory kept. Must come before anything imports torch."""

from typing import Any

import pytest

from pipelines.host import runtime

runtime.prepare()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compiled", action="store_true", help="torch.compile on a CPU too: minutes of its C++ compiler")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "compiled: of torch.compile; on a CPU with --compiled alone")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """What bench/compare.py tells machines apart by."""
    from pipelines.host import devices, environment
    from results.environment import Environment

    captured = environment.capture(devices.find_device("auto"))
    machine_info["machine_class"] = Environment.model_validate(captured).machine


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    import torch

    if config.getoption("compiled") or torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("compiled"):
            item.add_marker(pytest.mark.skip(reason="torch.compile takes minutes on a CPU: --compiled"))
