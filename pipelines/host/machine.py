"""Which processes share a machine. Host names do not say: two machines may have one name, two containers of a machine
have two."""

import platform
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
PROCESS_NUMBERS = Path("/proc/self/ns/pid")


def machine() -> str:
    """What all processes of a machine have in common, and no others: Linux's boot; elsewhere the host's name."""
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def process_table() -> str:
    """What the processes have in common that see each other under the same numbers."""
    try:
        namespace = str(PROCESS_NUMBERS.readlink())
    except OSError:
        namespace = ""
    return f"{machine()} {platform.node()} {namespace}"
