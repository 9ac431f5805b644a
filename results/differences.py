"""What keeps two sides, or the runs of one side, from being compared: the facts in which they differ."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from results.facts import FACTS
from results.samples import DATA_HASH, Samples

IMPLIED = {"recipe": ("kernels",), "machine": ("threads", "scheduling", "kernels"), "world": ("threads", "scheduling")}
"""what may differ too, where these may"""


def differences(old: Sequence[Samples], new: Sequence[Samples], across: Collection[str] = ()) -> str:
    """What differs that must not, with the values of both sides; empty if nothing does."""
    found = []
    across = {*across, *(fact for name in across for fact in IMPLIED.get(name, ()))}
    for fact in FACTS:
        has_hashes = fact == "data" and all(any(DATA_HASH in one.facts for one in side) for side in (old, new))
        key = DATA_HASH if has_hashes else fact
        values = [sorted({one.facts[key] for one in side if key in one.facts}) for side in (old, new)]
        if fact not in across and all(values) and len({*values[0], *values[1]}) > 1:
            shown = _options(old, new) if fact == "recipe" else ""
            found.append(f"{key}: {' and '.join(values[0])} → {' and '.join(values[1])}{shown}")
    return "; ".join(found)


def mixed(side: Sequence[Samples]) -> str:
    """Says that runs of one name are of several recipes, if so: their trials together are a sample of none."""
    by_hash = {one.facts["recipe"]: one for one in side if "recipe" in one.facts}
    if len(by_hash) < 2:
        return ""
    first, second, *_ = by_hash.values()
    hashes = " and ".join(by_hash)
    remedy = "name the runs of one of them, or pass --across recipe"
    return f"recipe: {first.recipe} is {hashes}{_options([first], [second])}; {remedy}"


def _options(old: Iterable[Samples], new: Iterable[Samples], most: int = 3) -> str:
    """The options in which the first recipes of both sides differ."""
    flat = [_flat(next(iter(side)).options) for side in (old, new)]
    keys = [
        key
        for key in {**flat[0], **flat[1]}
        if flat[0].get(key) != flat[1].get(key) and key not in ("title", "source", "entry", "clock")
    ]
    shown = [f"{key} {flat[0].get(key, 'absent')} → {flat[1].get(key, 'absent')}" for key in keys[:most]]
    return f" ({', '.join(shown)}{' …' if len(keys) > most else ''})" if shown else ""


def _flat(options: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in options.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: json.dumps(value)}
    return flat
