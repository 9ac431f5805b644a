"""The page: template, style, script, plotly and data in one file that needs no network and allows none."""

import hashlib
from base64 import b64encode
from importlib.resources import files
from typing import Any

from results import format as form
from results.extras import require

SCRIPTS = (
    "elements",
    "state",
    "exports",
    "leaderboard",
    "charts",
    "history",
    "run",
    "differences",
    "sections",
    "start",
)
"""the files of `script/`, in their order: each may call what any of them defines, and the last starts the page"""


def page(data: dict[str, Any], title: str) -> str:
    """The HTML of `results.page.data.page_data`.

    jinja2 escapes texts of records in the markup; in the data they are JSON without `<`, `>` and `&`, in a script
    element that is never executed. The page's Content-Security-Policy allows the two scripts that we ship and nothing
    else. ValueError where jinja2 or plotly is not installed.
    """
    jinja2, offline = require("jinja2", "report"), require("plotly.offline", "report")
    script = "\n".join(_shipped(f"script/{name}.js") for name in SCRIPTS)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("results", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    scripts = [offline.get_plotlyjs(), f'"use strict";\n(() => {{\n{script}}})();\n']
    return environment.get_template("page.html").render(
        title=title,
        data=data,
        choices=choices(data),
        style=environment.filters["safe"](_shipped("page.css")),
        scripts=[environment.filters["safe"](script) for script in scripts],
        hashes=[_source_hash(script) for script in scripts],
    )


def choices(data: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """What each filter offers: its value in the page's address, and its label."""
    runs = data["runs"]
    targets = sorted({run["target"] for run in runs} - {None})
    return {
        "data": [("*", "all"), *((name, name) for name in sorted({run["data_set"] for run in runs}))],
        "machine": [("", "all"), *((name, name) for name in sorted({run["machine"] for run in runs}))],
        "target": [("", "all"), *((str(target), form.target(target)) for target in targets)],
    }


def _shipped(path: str) -> str:
    return files(__package__).joinpath(path).read_text(encoding="utf-8")


def _source_hash(script: str) -> str:
    """As Content-Security-Policy names a script that may run. HTML reads every line end as a line feed."""
    digest = hashlib.sha256(script.replace("\r\n", "\n").encode()).digest()
    return f"sha256-{b64encode(digest).decode()}"
