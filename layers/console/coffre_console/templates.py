"""The templates of pages, which the layer's build compiles: to do that takes a fifth of a first page's time.

Run as a program it does that; it then has nothing but Jinja, and no function that a template could have called early.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, ModuleLoader, StrictUndefined

COMPILED: Final = Path(__file__).parent / "compiled"
FILTERS: Final = ("running", "iso", "utc", "seconds_since", "address", "exact", "lines")
_SOURCE: Final = Path(__file__).parent / "pages" / "templates"


def make_environment(filters: Mapping[str, Callable[..., Any]], finalize: Callable[[Any], Any]) -> Environment:
    """Return the templates, compiled where they were compiled, with these filters (`FILTERS`).

    What is not trusted is escaped; `finalize` writes out invisible characters.
    """
    made = Environment(
        loader=ModuleLoader(COMPILED) if COMPILED.is_dir() else FileSystemLoader(_SOURCE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=finalize,
    )
    made.filters |= filters
    return made


def compile_all(directory: Path) -> None:
    """Compile every template into a directory; raises `TemplateSyntaxError`."""
    made = make_environment(dict.fromkeys(FILTERS, _not_yet), _not_yet)
    made.compile_templates(os.fspath(directory), zip=None, ignore_errors=False)


def _not_yet(*_: object) -> Any:
    raise RuntimeError("This is known when a page is shown.")  # Jinja leaves it to then.


if __name__ == "__main__":
    compile_all(COMPILED)
