"""What the gate decided, for people and for machines: Markdown, JUnit XML, and JSON for github-action-benchmark."""

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from results import format as form
from results import marks
from results.gate import Judgement
from results.measure import Measured
from results.metrics import Metric
from results.tables.comparison import change, note_sentences
from results.tables.table import Table

MARKS = {
    "passed": "=",
    "better": "-",
    "worse": "+",
    "not confirmed": "~",
    "unstable": "!",
    "undecided": "?",
    "missing": "x",
}
FAILURES = {"worse": "failure", "undecided": "error", "missing": "error", "unstable": "skipped"}
"""how JUnit calls what did not pass"""


def table(judgements: Sequence[Judgement], protocol: str) -> Table:
    """One row a metric of a recipe."""
    headers = ("recipe", "metric", "baseline", "new", "change", "confirmation run", "noise floor", "", "decision")
    rows = tuple(
        (
            one.first.recipe,
            one.first.metric.name,
            side(one.first.before, one.first.metric),
            side(one.first.after, one.first.metric),
            change(one.first.change, one.first.metric),
            change(one.again and one.again.change, one.first.metric) + confirmation_marks(one),
            form.NOTHING if one.floor is None else f"{100 * one.floor:.1f}%",
            MARKS[one.decision],
            f"{one.decision}: {one.reason}" if one.reason else one.decision,
        )
        for one in judgements
    )
    caption = (
        f"Times: median, {protocol} protocol; in rows marked paired: of a typical pair. + worse, ~ not confirmed, "
        "= passed, - better, ! unstable (noise floor over the limit), ? undecided, x missing."
    )
    sides = (row for one in judgements for row in (one.first, one.again) if row)
    marked = {name for row in sides for one in (row.before, row.after) if one for name in one.marks}
    notes = note_sentences((one.first.recipe, shown_notes(one)) for one in judgements)
    parts = [*improvements(judgements), caption + marks.legend(marked), *notes]
    return Table("gate", headers, rows, " ".join(parts))


def shown_notes(judgement: Judgement) -> tuple[str, ...]:
    """All notes; of what passed, only those on the baseline."""
    return judgement.notes if judgement.decision in ("passed", "better") else judgement.all_notes


def side(measured: Measured | None, metric: Metric) -> str:
    """Median or mean, with the symbols of the marks that a trial has."""
    return metric.text(measured and measured.value) + marks.symbols(measured.marks if measured else ())


def confirmation_marks(judgement: Judgement) -> str:
    """The symbols of the marks that a trial of the confirmation run has."""
    after = judgement.again and judgement.again.after
    return marks.symbols(after.marks if after else ())


def improvements(judgements: Sequence[Judgement]) -> list[str]:
    """One sentence on what became better, or none."""
    better = [
        f"{one.first.recipe} {one.first.metric.name} {one.first.metric.test.write(one.first.change.size)}"
        for one in judgements
        if one.decision == "better" and one.first.change
    ]
    return [f"Better: {', '.join(better)}. Renew the baseline to hold later runs to it."] if better else []


def junit(judgements: Sequence[Judgement]) -> str:
    """JUnit XML, as Jenkins and GitLab read it: worse is a failure, undecided an error, unstable is skipped."""
    kinds = [FAILURES.get(one.decision) for one in judgements]
    counts = {f"{kind}s" if kind != "skipped" else kind: str(kinds.count(kind)) for kind in FAILURES.values()}
    suite = ElementTree.Element("testsuite", name="gate", tests=str(len(kinds)), **counts)
    for one, kind in zip(judgements, kinds, strict=True):
        names = {"classname": form.printable(one.first.recipe), "name": one.first.metric.name}
        case = ElementTree.SubElement(suite, "testcase", names)
        if kind:
            element = ElementTree.SubElement(case, kind, message=form.printable(f"{one.decision}: {one.reason}"))
            element.text = "\n".join(map(form.printable, shown_notes(one)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def annotations(judgements: Sequence[Judgement]) -> list[str]:
    """Workflow commands by which GitHub shows what did not pass beside the job: errors for worse, else warnings."""
    lines = []
    for one in judgements:
        if one.decision in FAILURES:
            metric = one.first.metric
            parts = (f"{metric.name} {change(one.first.change, metric)}: {one.reason}", *shown_notes(one))
            text = f"{one.first.recipe}: {'; '.join(parts)}"
            kind = "error" if one.decision == "worse" else "warning"
            lines.append(f"::{kind} title=gate {one.decision}::{_escaped(text)}")
    return lines


def _escaped(text: str) -> str:
    return form.printable(text).replace("%", "%25")


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
