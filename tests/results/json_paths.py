"""Places of values within JSON, and JSON with another value at a place."""


def paths_of(value, path=()):
    """The places of all values, as keys and indices from the outside; () is the whole."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths_of(item, (*path, key))


def replaced(value, path, new):
    """A copy with `new` at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy
