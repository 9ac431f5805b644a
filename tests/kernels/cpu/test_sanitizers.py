import os
import subprocess
from pathlib import Path

import pytest

from kernels.cpu import build
from tests.kernels.cpu.chains import needs_kernels


@pytest.mark.slow
@needs_kernels
@pytest.mark.parametrize("instructions", build.INSTRUCTIONS, ids=lambda each: each.name)
def test_any_cpu_compiles_for_all_instructions(instructions):
    if instructions == build.instructions():
        pytest.skip("all tests of the kernels compile these")
    sources = [str(source) for source in instructions.sources() if source.name != "binding.cpp"]
    command = [*build.compiler(), *instructions.compiler_flags(), "-fsyntax-only", *sources]
    subprocess.run(command, check=True)


@pytest.mark.slow
@needs_kernels
def test_no_address_outside_a_buffer_and_no_undefined_behaviour(tmp_path):
    chosen = build.instructions()
    sources = [*chosen.sources(), Path(__file__).with_name("sanitized.cpp")]
    sources = [str(source) for source in sources if source.name != "binding.cpp"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"]
    sanitizers += ["-g1"]  # a report names lines; to follow each variable takes the compiler long
    flags = [flag for flag in chosen.compiler_flags() if flag != "-O3"]
    program = tmp_path / "sanitized"
    command = [*build.compiler(), *flags, *sanitizers, *sources, "-o", str(program)]
    subprocess.run(command, check=True)
    # the OpenMP runtime keeps its threads' memory to the end
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}
    ended = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.returncode) == ("done\n", 0), ended.stderr
