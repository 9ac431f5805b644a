import signal
import subprocess
import sys

from pipelines.host.orphans import killed_with_us

PROGRAM = """
import os, signal, sys
from pipelines.host.orphans import killed_with_us
with killed_with_us() as watch:
    for number in sys.argv[1:]:
        watch(int(number))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_and_groups_are_killed_with_the_process_that_watches_them_alone():
    kept, process = (subprocess.Popen(["sleep", "1000"]) for _ in range(2))
    group = subprocess.Popen(["sh", "-c", "sleep 1000; :"], start_new_session=True)
    try:
        with killed_with_us() as watch:
            watch(kept.pid)
        ended = subprocess.run([sys.executable, "-c", PROGRAM, str(-group.pid), str(process.pid)], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert [one.wait(timeout=30) for one in (process, group)] == [-signal.SIGKILL] * 2
        assert kept.poll() is None
    finally:
        for one in (kept, process, group):
            one.kill()
            one.wait()
