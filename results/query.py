"""SQL over runs, by DuckDB (extra `query`), and the files that it writes."""

import json
import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import cache, store
from results.extras import require
from results.flat import COLUMNS, Column, Row, tables
from results.format import FORMULA, NOTHING
from results.json_values import writable
from results.protocols import find_protocol
from results.tables import Table

if TYPE_CHECKING:
    import duckdb

FORMATS = {"csv": "(HEADER)", "parquet": "(FORMAT parquet)"}
NESTED = ("epochs", "laps")
"""the tables that DuckDB reads from the lines of the trials themselves"""


def named_in(sql: str) -> list[str]:
    """The tables that a query may need: those whose names are words in it, or all of them if none is."""
    words = set(re.findall(r"\w+", sql.lower()))
    return [name for name in COLUMNS if name in words] or list(COLUMNS)


def database(
    places: Sequence[str | Path],
    protocol: str,
    names: Collection[str] = tuple(COLUMNS),
    workers: int = 1,
    skip: store.Skip | None = None,
    warn: Callable[[str], None] = lambda warning: None,
) -> "duckdb.DuckDBPyConnection":
    """A database in memory with those tables of `results.flat.COLUMNS` that are named.

    skip: as in `results.store.find`; warn: told what could not be read of a run that is in the tables. ValueError for
    an unknown protocol, a place without runs, and where DuckDB is missing.
    """
    duckdb = require("duckdb", "query")
    find_protocol(protocol)
    paths = store.locate(places)
    encoded = cache.derived(paths, f"rows {protocol}", partial(_encode, protocol=protocol), workers)
    found = [one if isinstance(one, ValueError) else (path, one) for path, one in zip(paths, encoded, strict=True)]
    connection = duckdb.connect()
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: Path(folder) / f"{name}.json" for name in ("runs", "trials", "files")}
        with (
            sources["runs"].open("wb") as runs,
            sources["trials"].open("wb") as trials,
            sources["files"].open("wb") as files,
        ):
            for path, one in store.without_unreadable(paths, found, places, skip):
                head, run, rows = one.split(b"\n", 2)
                file = json.loads(head) | {"file": str(path.with_name(store.TRIALS))}
                for warning in file["warnings"]:
                    warn(warning)
                runs.write(_line(json.loads(run) | {"path": str(path.parent)}))
                trials.write(rows)
                files.write(json.dumps(file).encode() + b"\n")
        for name in ("runs", "trials"):
            if name in names:
                _create(connection, name, sources[name])
        if set(names) & set(NESTED):
            _create_nested(connection, [name for name in NESTED if name in names], sources["files"], Path(folder))
    return connection


def _encode(path: Path, protocol: str) -> bytes:
    """Lines: what `_create_nested` needs to read the trials, the row of the run, and the rows of its trials.

    The reader adds the paths. They change with the reader's folder and when the runs are moved, and warnings have them.
    """
    run = store.read(path)
    found = tables([run], protocol, ("runs", "trials"))
    head = {
        "run": run.record.id,
        "recipe": run.record.recipe_name,
        "as_it_stands": run.record.status != "running" and not run.warnings,
        "warnings": run.warnings,
    }
    lines = json.dumps(head).encode() + b"\n" + b"".join(map(_line, (*found.runs, *found.trials)))
    return lines if head["as_it_stands"] else cache.Passing(lines)


def _line(row: Row) -> bytes:
    """A row as JSON. A byte of a path that is no UTF-8 becomes a question mark. A loss that is NaN or infinite is the
    text that DuckDB reads as that number."""
    finite = {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
    return json.dumps(finite, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _create(connection: "duckdb.DuckDBPyConnection", name: str, path: Path) -> None:
    types = ", ".join(f"'{column.name}': '{column.sql}'" for column in COLUMNS[name])
    source = f"read_json('{path}', format = 'newline_delimited', columns = {{{types}}})"
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {source}")  # noqa: S608  all of it is ours


def _create_nested(connection: "duckdb.DuckDBPyConnection", names: Collection[str], heads: Path, folder: Path) -> None:
    """Tables of the lists within the trials. Files with lines that are no trials are written again without them, and so
    are those of runs that are still written."""
    found = [json.loads(line) for line in heads.read_bytes().splitlines()]
    for number, head in enumerate(found):
        if not head["as_it_stands"] or not _is_plain(head["file"]):
            run = store.read(Path(head["file"]).parent)
            head["file"] = str(folder / f"{number}.jsonl")
            with Path(head["file"]).open("w", encoding="utf-8") as file:
                file.writelines(trial.model_dump_json(include={"seed", *NESTED}) + "\n" for trial in run.trials)
    heads.write_text("".join(json.dumps(head) + "\n" for head in found), encoding="utf-8")
    types = "file: 'VARCHAR', run: 'VARCHAR', recipe: 'VARCHAR'"
    connection.execute(
        f"CREATE TEMP TABLE files AS FROM read_json('{heads}', format = 'newline_delimited', columns = {{{types}}})"
    )
    for name in names:
        of_trial = COLUMNS[name][3:]  # behind run, recipe and seed
        struct = ", ".join(f"{column.name} {column.sql}" for column in of_trial)
        select = ", ".join(["run", "recipe", "seed", *(f"part.{column.name}" for column in of_trial)])
        connection.execute(
            f"CREATE TABLE {name} AS SELECT {select} FROM (SELECT filename, seed, unnest({name}) AS part FROM "  # noqa: S608
            "read_json($files, format = 'newline_delimited', filename = true, hive_partitioning = false, "
            f"maximum_object_size = 1073741824, columns = {{seed: 'HUGEINT', {name}: 'STRUCT({struct})[]'}})) "
            "JOIN files ON filename = file",
            {"files": [head["file"] for head in found]},
        )


def _is_plain(path: str) -> bool:
    """Whether DuckDB can open a path as it is: it reads UTF-8, and takes some characters for a glob."""
    return not set("*?[") & set(path) and path == path.encode("utf-8", "replace").decode()


def close_files(connection: "duckdb.DuckDBPyConnection") -> None:
    """From here on SQL can neither read nor write files."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def ask(connection: "duckdb.DuckDBPyConnection", sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and rows of an answer. ValueError, in one line, for SQL that DuckDB does not take."""
    import duckdb

    try:
        answer = connection.execute(sql)
        if answer is None:
            raise ValueError('the query says nothing: give SQL such as "select * from runs"')
        return [column[0] for column in answer.description or ()], answer.fetchall()
    except (duckdb.Error, OverflowError, ImportError) as error:  # values that Python has no type for come as these
        raise ValueError(" ".join(str(error).split())) from error


def as_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """An answer as text."""
    cells = tuple(tuple(_text(value) for value in row) for row in rows)
    return Table("", tuple(columns), cells, "" if rows else "No row.")


def as_json(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An answer as an array of objects. A number that is not finite is a text, as in records.

    ValueError for columns of one name, of which an object keeps one.
    """
    if repeated := [name for name, times in Counter(columns).items() if times > 1]:
        raise ValueError(f"JSON: {repeated[0]!r} names several columns: name each with AS, or use --format csv")
    return json.dumps([writable(dict(zip(columns, row, strict=True))) for row in rows], indent=2, default=str)


def write(connection: "duckdb.DuckDBPyConnection", folder: Path, form: str) -> list[Path]:
    """Every table as a file of `folder`, which is made if it is missing. `form` is one of `FORMATS`.

    OSError or ValueError where they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{form}" for name in COLUMNS]
    for name, path in zip(COLUMNS, paths, strict=True):
        quoted = str(path).replace("'", "''")
        source = f"(SELECT {', '.join(map(_cell, COLUMNS[name]))} FROM {name})" if form == "csv" else name  # noqa: S608
        ask(connection, f"COPY {source} TO '{quoted}' {FORMATS[form]}")
    return paths


def _cell(column: Column) -> str:
    """As `results.format.cell`, in SQL."""
    if column.sql != "VARCHAR":
        return column.name
    text = f"regexp_replace({column.name}, '[[:cntrl:]]', ' ', 'g')"
    return rf"regexp_replace({text}, '^([{FORMULA}].)', '''\1') AS {column.name}"


def _text(value: object) -> str:
    if value is None:
        return NOTHING
    return f"{value:.6g}" if isinstance(value, float) else str(value)
