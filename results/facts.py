"""What must be the same on both sides of a comparison. Imports nothing, so that `--help` names it at once."""

FACTS = (
    *("recipe", "data", "target", "clock", "machine", "world", "threads", "scheduling", "kernels", "protocol"),
    "smoke test",
)
