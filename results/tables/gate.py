"""What the gate decided, for people and for machines: Markdown, JUnit XML, and JSON for github-action-benchmark."""

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from results import format as form
from results.gate import Judgement
from results.tables.comparison import change
from results.tables.table import Table

MARKS = {"passed": "=", "better": "-", "worse": "+", "not confirmed": "~", "unstable": "!", "undecided": "?"}
FAILURES = {"worse": "failure", "undecided": "error", "unstable": "skipped"}
"""how JUnit calls what did not pass"""


def table(judgements: Sequence[Judgement], protocol: str) -> Table:
    """One row a metric of a recipe."""
    headers = ("recipe", "metric", "baseline", "new", "change", "confirmation run", "noise floor", "", "decision")
    rows = tuple(
        (
            one.first.recipe,
            one.first.metric.name,
            one.first.metric.text(one.first.before and one.first.before.value),
            one.first.metric.text(one.first.after and one.first.after.value),
            change(one.first.change, one.first.metric),
            change(one.again and one.again.change, one.first.metric),
            form.NOTHING if one.floor is None else f"{100 * one.floor:.1f}%",
            MARKS[one.decision],
            f"{one.decision}: {one.reason}" if one.reason else one.decision,
        )
        for one in judgements
    )
    caption = (
        f"Times: median, {protocol} protocol. + worse, ~ not confirmed, = passed, - better, "
        "! unstable (noise floor over the limit), ? undecided."
    )
    return Table("gate", headers, rows, caption)


def junit(judgements: Sequence[Judgement]) -> str:
    """JUnit XML, as Jenkins and GitLab read it: worse is a failure, undecided an error, unstable is skipped."""
    kinds = [FAILURES.get(one.decision) for one in judgements]
    counts = {f"{kind}s" if kind != "skipped" else kind: str(kinds.count(kind)) for kind in FAILURES.values()}
    suite = ElementTree.Element("testsuite", name="gate", tests=str(len(kinds)), **counts)
    for one, kind in zip(judgements, kinds, strict=True):
        names = {"classname": form.printable(one.first.recipe), "name": one.first.metric.name}
        case = ElementTree.SubElement(suite, "testcase", names)
        if kind:
            ElementTree.SubElement(case, kind, message=form.printable(f"{one.decision}: {one.reason}"))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def benchmark_json(judgements: Sequence[Judgement]) -> str:
    """For github-action-benchmark, tool `customSmallerIsBetter`: accuracies are written as errors."""
    entries = []
    for one in judgements:
        metric, measured = one.first.metric, one.first.after
        if measured is None:
            continue
        name, unit, value = metric.cost or (metric.name, metric.unit, float)
        entries.append(
            {
                "name": f"{one.first.recipe}: {name}",
                "unit": unit,
                "value": value(measured.value),
                "extra": f"{one.decision}; n = {measured.n}",
            }
        )
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
