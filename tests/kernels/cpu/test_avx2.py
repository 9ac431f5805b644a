"""The kernels for AVX2, on a CPU that has better instructions."""

import subprocess
import sys
from pathlib import Path

import pytest

from kernels.cpu import build
from tests.kernels.cpu.chains import needs_kernels

FILES = ["tests/kernels/cpu/test_chain.py", "tests/kernels/test_augment.py"]


@pytest.mark.slow
@needs_kernels
def test_they_pass_the_same_tests(tmp_path):
    chosen = build.instructions()
    if chosen == build.INSTRUCTIONS[-1]:
        pytest.skip("this CPU runs them in all tests")
    (tmp_path / "only_avx2.py").write_text(
        "from kernels.cpu import build\n\nbuild.cpu_flags = lambda: build.INSTRUCTIONS[-1].needs\n"
    )
    program = f"import sys, pytest; sys.path.insert(0, {str(tmp_path)!r}); sys.exit(pytest.main(sys.argv[1:]))"
    options = ["-p", "only_avx2", "-n", "0", "-q", "-k", "not emulated_amx"]
    command = [sys.executable, "-c", program, *options, *FILES]
    ended = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert " passed" in ended.stdout
