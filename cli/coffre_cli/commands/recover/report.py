"""The report of a recovery as a page: one file, for a screen or for paper."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coffre.model.names import visible
from coffre.model.recovery import Recovery
from coffre.model.words import size, span
from coffre.policy.recovery import is_complete, sentence_of

if TYPE_CHECKING:
    from jinja2 import Template

_FILE: Final = Path(__file__).with_name("report_page.html.jinja")


def page_of(recovery: Recovery) -> str:
    """Return the page as HTML. Whatever a name holds, it is text."""
    return _template().render(
        recovery=recovery, heading=sentence_of(recovery), is_good=is_complete(recovery) and not recovery.is_late
    )


@cache
def _template() -> Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FILE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )
    environment.filters |= {"moment": _moment, "size": size, "span": span}
    return environment.get_template(_FILE.name)


def _moment(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "-"
