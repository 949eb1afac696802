"""The page of a drill's report: one file without anything from elsewhere, for a screen or for paper."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coffre.model.drill import Outcome
from coffre.model.drill_report import DrillReport, Verdict
from coffre.model.names import visible
from coffre.model.words import duration, size

if TYPE_CHECKING:
    from jinja2 import Template

_FILE: Final = Path(__file__).with_name("report_page.html.jinja")
HEADINGS: Final = {
    Outcome.PASSED: "Restored and proven",
    Outcome.INCOMPLETE: "Every row was restored and proven; a restore leaves out what the server refuses",
    Outcome.FAILED: "The backup did not come back as it was taken",
    Outcome.NOT_POSSIBLE: "The drill was not possible here: nothing is known against the backup",
}
VERDICTS: Final = {
    Verdict.EQUAL: "equal",
    Verdict.SAME_VALUES: "same values, written otherwise",
    Verdict.DIFFERENT: "DIFFERENT",
    Verdict.NOT_LOADED: "not restored here",
}


def page_of(report: DrillReport) -> str:
    """Return the page as HTML. Whatever a name holds, it is text."""
    counts = Counter(table.verdict for table in report.tables) + Counter(one.verdict for one in report.objects)
    return _template().render(
        report=report,
        heading=heading_of(report),
        verdicts=VERDICTS,
        counts=[(VERDICTS[verdict], counts[verdict]) for verdict in Verdict if counts[verdict]],
    )


def heading_of(report: DrillReport) -> str:
    """Return what a drill came to, in one sentence without a full stop."""
    heading = HEADINGS[report.outcome]
    if report.outcome is Outcome.PASSED and report.sample is not None and not report.sample.is_all:
        heading = f"A sample was restored and proven, {report.sample.chosen:,} of {report.sample.objects:,} objects"
    if report.outcome is Outcome.PASSED and report.exceptions:
        number = len(report.exceptions)
        return f"{heading}, except for {number} thing{'s' if number > 1 else ''} that could not be proven here"
    return heading


class _Lines(str):
    """A text that has lines of its own: an owner's query, the words of a server."""

    __slots__ = ()


def _shown(value: object) -> object:
    return visible(value, breaks=isinstance(value, _Lines)) if isinstance(value, str) else value


@cache
def _template() -> Template:
    # Here, for every function's start imports this module.
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "bytes": size,
        "lines": _Lines,
        "seconds": lambda seconds: duration(round(1000 * seconds)),
        "value": json.dumps,
        "number": lambda number: f"{number:,}",
        "moment": lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC",
    }
    return environment.from_string(_FILE.read_text(encoding="utf-8"))
