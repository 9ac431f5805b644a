"""Records, and everything that is read from them. In a notebook, start with `results.load()`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas


def load(*places: str | Path, table: str = "trials", protocol: str = "strict") -> "pandas.DataFrame":
    """The runs at `places` (directories, folders of them, globs; default `runs`) as a data frame.

    `table`: `runs`, `trials`, `epochs` or `laps`, with the columns of `results.flat.COLUMNS`. Accuracies are fractions,
    times seconds under `protocol`. Raises ValueError where there is no run, and for an unknown table or protocol;
    ModuleNotFoundError without pandas (pip install -e '.[query]' -c constraints.txt).
    """
    import pandas

    from results.flat import COLUMNS, tables
    from results.store import find, with_scalings

    if table not in COLUMNS:
        raise ValueError(f"table={table!r}: use one of {', '.join(COLUMNS)}")
    rows = getattr(tables(find(with_scalings(places or ["runs"])), protocol), table)
    return pandas.DataFrame(rows, columns=[column.name for column in COLUMNS[table]])
