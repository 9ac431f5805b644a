"""The output of nvidia-smi."""

QUERY = ("uuid", "driver_version", "clocks.max.sm", "clocks.max.memory", "enforced.power.limit")


def parse(text: str) -> dict[str, dict[str, str]]:
    """By UUID, what `nvidia-smi --query-gpu=QUERY --format=csv,noheader,nounits` prints."""
    lines = (line.split(",") for line in text.splitlines() if line.strip())
    rows = (dict(zip(QUERY, map(str.strip, values), strict=True)) for values in lines)
    return {row["uuid"]: row for row in rows}
