"""What the gate says, for people and for machines: Markdown, JUnit XML, and JSON for github-action-benchmark."""

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from results.gate import LEVEL, Judgement
from results.tables import NOTHING, Table, printable

MARKS = {"passed": "=", "worse": "+", "not confirmed": "~", "unstable": "!", "undecided": "?"}
FAILURES = {"worse": "failure", "undecided": "error", "unstable": "skipped"}
"""how JUnit calls what did not pass"""


def table(judgements: Sequence[Judgement], protocol: str) -> Table:
    """One row a metric of a recipe."""
    headers = ("recipe", "what", "baseline", "new", "change", "run again", "noise floor", "", "decision")
    rows = tuple(
        (
            one.first.recipe,
            one.first.metric,
            _value(one, one.first.before and one.first.before.value),
            _value(one, one.first.after and one.first.after.value),
            _size(one, one.first.change and one.first.change.size),
            _size(one, one.again and one.again.change and one.again.change.size),
            NOTHING if one.floor is None else f"{100 * one.floor:.1f}%",
            MARKS[one.decision],
            f"{one.decision}: {one.reason}" if one.reason else one.decision,
        )
        for one in judgements
    )
    caption = (
        f"Times under the protocol {protocol}, medians; accuracies are means. The noise floor is the slow-down that "
        "runs of the same code show by chance; recipes whose floor is over the limit do not gate. + worse, twice; "
        "~ worse once, but not when run again; = passed; ! does not gate; ? could not be decided. At most "
        f"{100 * LEVEL:g}% of the nights without a change give a false alarm."
    )
    return Table("gate", headers, rows, caption)


def junit(judgements: Sequence[Judgement]) -> str:
    """JUnit XML, as Jenkins and GitLab read it: worse is a failure, undecided an error, unstable is skipped."""
    told = [FAILURES.get(one.decision) for one in judgements]
    counts = {f"{kind}s" if kind != "skipped" else kind: str(told.count(kind)) for kind in FAILURES.values()}
    suite = ElementTree.Element("testsuite", name="gate", tests=str(len(told)), **counts)
    for one, kind in zip(judgements, told, strict=True):
        names = {"classname": printable(one.first.recipe), "name": one.first.metric}
        case = ElementTree.SubElement(suite, "testcase", names)
        if kind:
            ElementTree.SubElement(case, kind, message=printable(f"{one.decision}: {one.reason}"))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def benchmark_json(judgements: Sequence[Judgement]) -> str:
    """Times and error rates for github-action-benchmark, tool `customSmallerIsBetter`."""
    entries = []
    for one in judgements:
        if one.first.after is None:
            continue
        is_time, value = one.first.metric != "accuracy", one.first.after.value
        entries.append(
            {
                "name": f"{one.first.recipe}: {one.first.metric if is_time else 'error'}",
                "unit": "s" if is_time else "%",
                "value": value if is_time else 100 * (1 - value),
                "extra": f"{one.decision}; n = {one.first.after.n}",
            }
        )
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def _value(one: Judgement, value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{100 * value:.2f}%" if one.first.metric == "accuracy" else f"{value:.4g} s"


def _size(one: Judgement, size: float | None) -> str:
    if size is None:
        return NOTHING
    return f"{100 * size:+.2f} points" if one.first.metric == "accuracy" else f"{100 * (size - 1):+.1f}%"
