import os
import subprocess
import sys
from pathlib import Path

from tests.kernels.versions import needs_triton

REPOSITORY = Path(__file__).parents[2]


@needs_triton
def test_every_triton_program_compiles_for_a_gpu(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.ahead_of_time"],
        cwd=REPOSITORY,
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
