"""What a check says: a verdict and a sentence."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "suspicious", "broken"]
SEVERITY: tuple[Verdict, ...] = ("ok", "suspicious", "broken")


@dataclass(frozen=True)
class Finding:
    """One check's result."""

    check: str
    verdict: Verdict
    sentence: str


def worst(findings: Iterable[Finding]) -> Verdict:
    """The gravest verdict; ok when there is none."""
    return max((finding.verdict for finding in findings), key=SEVERITY.index, default="ok")
