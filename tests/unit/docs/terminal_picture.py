"""docs/images/status.svg, made of a snapshot: `python -m tests.unit.docs.terminal_picture` writes it."""

from __future__ import annotations

import io
import re
from typing import Final

from rich.console import Console
from rich.text import Text
from tests.unit.docs.pages import ROOT

PICTURE: Final = ROOT / "docs/images/status.svg"
_SNAPSHOT: Final = ROOT / "tests/snapshots/status-sample-120.txt"
_COLOURS: Final = {r"NOT SAFE|not safe": "bold red", r"\bsafe(?= )": "green", r"^TARGET .*$|^  coffre .*$": "bold"}


def picture() -> str:
    """Return the picture of a terminal in which the command was typed."""
    console = Console(record=True, width=120, file=io.StringIO(), force_terminal=True)
    text = Text("$ coffre status\n" + _SNAPSHOT.read_text(encoding="utf-8").rstrip())
    for words, style in _COLOURS.items():
        text.highlight_regex(f"(?m){words}", style)
    console.print(text, soft_wrap=True)
    svg = console.export_svg(title="coffre status", unique_id="coffre-status")
    # Nothing is loaded from elsewhere: the reader's own font will do.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines() if line.strip())


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8")
