"""The page of a report: one file without anything from elsewhere, for a screen, a phone, or paper."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coffre.model.names import visible
from coffre.model.report import PeriodReport, TargetReport
from coffre.model.words import counted, size
from coffre.policy.cost import dollars
from coffre.policy.objectives import words_of

if TYPE_CHECKING:
    from jinja2 import Template

_FILE: Final = Path(__file__).with_name("page.html.jinja")
_WIDTH, _HEIGHT = 120, 24


def page_of(report: PeriodReport) -> str:
    """Return the page as HTML. Whatever a name holds, it is text."""
    return _template().render(report=report)


def growth(sizes: Sequence[int]) -> str:
    """Return how much larger the last size is than the first: `+3 %`; empty when there is nothing to compare."""
    if len(sizes) < 2 or not sizes[0]:
        return ""
    return f"{100 * (sizes[-1] - sizes[0]) / sizes[0]:+.0f} %"


def points(sizes: Sequence[int]) -> str:
    """Return the points of a line through the sizes, in a box of 120 x 24, for SVG."""
    largest = max(sizes, default=0) or 1
    step = _WIDTH / max(1, len(sizes) - 1)
    return " ".join(
        f"{step * at:.1f},{_HEIGHT - 1 - (_HEIGHT - 2) * one / largest:.1f}" for at, one in enumerate(sizes)
    )


def measured_words(target: TargetReport) -> list[str]:
    """Return what was measured against the objectives of a target."""
    return words_of(target.measured) if target.measured is not None else []


@cache
def _template() -> Template:
    # Here, for every function's start imports this module.
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )
    environment.filters |= {
        "size": size,
        "dollars": dollars,
        "counted": counted,
        "growth": growth,
        "points": points,
        "measured": measured_words,
        "moment": lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC",
        "day": lambda moment: f"{moment:%Y-%m-%d}",
    }
    return environment.from_string(_FILE.read_text(encoding="utf-8"))
