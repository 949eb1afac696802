"""What commands print, kept as text files next to this one, and compared letter by letter.

`COFFRE_SNAPSHOTS=write` writes the files again instead of comparing: then look at the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from coffre_cli import screen

WIDTHS: Final = (60, 80, 120)
VARIABLE: Final = "COFFRE_SNAPSHOTS"
_FOLDER: Final = Path(__file__).parent
# Read now: fixtures of the command's tests remove what they do not know from the environment.
_IS_WRITTEN: Final = os.environ.get(VARIABLE) == "write"


def at_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Let the command believe that it writes to a terminal of this width, which shows no colours."""
    for console in (screen.console, screen.error_console):
        monkeypatch.setattr(console, "_force_terminal", True)
        monkeypatch.setattr(console, "_color_system", None)
        monkeypatch.setattr(console, "width", width)


def compare(name: str, text: str, *, width: int) -> None:
    """Compare what was printed with the file `NAME-WIDTH.txt`; no line may be wider than the terminal."""
    text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    file = _FOLDER / f"{name}-{width}.txt"
    if _IS_WRITTEN:
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"{file.name} is missing: {VARIABLE}=write makes it"
    assert text == file.read_text(encoding="utf-8")
    too_wide = [line for line in text.splitlines() if len(line) > width and not _is_command(line)]
    assert not too_wide


def _is_command(line: str) -> bool:
    """Whether a line is a command, which is never broken: it can be copied as it is."""
    return line.startswith(("  coffre ", "  aws ", "  sam "))
