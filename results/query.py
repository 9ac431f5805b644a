"""SQL over runs, by DuckDB (extra `query`), and the files that it writes."""

import json
import math
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.flat import COLUMNS, Row, tables
from results.format import NOTHING
from results.record import Run
from results.tables import Table

if TYPE_CHECKING:
    import duckdb

FORMATS = {"csv": "(HEADER)", "parquet": "(FORMAT parquet)"}


def database(runs: Iterable[Run], protocol: str) -> "duckdb.DuckDBPyConnection":
    """A database in memory with the tables of `results.flat.COLUMNS`.

    Raises ValueError for an unknown protocol, and where DuckDB is missing.
    """
    try:
        import duckdb
    except ModuleNotFoundError:
        raise ValueError("queries need DuckDB: pip install -e '.[query]' -c constraints.txt") from None
    found = tables(runs, protocol)
    connection = duckdb.connect()
    with tempfile.TemporaryDirectory() as folder:
        for name, columns in COLUMNS.items():
            path = Path(folder) / f"{name}.json"
            with path.open("w", encoding="utf-8", errors="replace") as file:  # of a path that is no UTF-8
                file.writelines(json.dumps(_finite(row), ensure_ascii=False) + "\n" for row in getattr(found, name))
            types = ", ".join(f"'{column.name}': '{column.sql}'" for column in columns)
            source = f"read_json('{path}', format = 'newline_delimited', columns = {{{types}}})"
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {source}")  # noqa: S608  all of it is ours
    return connection


def ask(connection: "duckdb.DuckDBPyConnection", sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and rows of an answer. ValueError, in one line, for SQL that DuckDB does not take."""
    import duckdb

    try:
        answer = connection.execute(sql)
    except duckdb.Error as error:
        raise ValueError(" ".join(str(error).split())) from error
    return [column[0] for column in answer.description or ()], answer.fetchall()


def as_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """An answer as text."""
    return Table("", tuple(columns), tuple(tuple(_text(value) for value in row) for row in rows))


def write(connection: "duckdb.DuckDBPyConnection", folder: Path, form: str) -> list[Path]:
    """Every table as a file of `folder`, which is made if it is missing. `form` is one of `FORMATS`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{form}" for name in COLUMNS]
    for name, path in zip(COLUMNS, paths, strict=True):
        quoted = str(path).replace("'", "''")
        connection.execute(f"COPY {name} TO '{quoted}' {FORMATS[form]}")
    return paths


def _finite(row: Row) -> Row:
    """A loss that is NaN or infinite as the text that DuckDB reads as that number."""
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _text(value: object) -> str:
    if value is None:
        return NOTHING
    return f"{value:.6g}" if isinstance(value, float) else str(value)
