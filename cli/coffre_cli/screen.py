"""What a person sees: sizes, times, tables, errors. Scripts get JSON on stdout instead."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from coffre.model.errors import CoffreError
from coffre.model.kinds import Status
from coffre.model.names import visible, visible_json

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Failure, Restore

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)

# Words of a table stay whole up to IN_PROGRESS. Longer ones are folded (names of targets have up to 63 letters), never
# into less than can be read.
_WHOLE_CELLS = 11
_READABLE_CELLS = 8
_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_STYLES = {Status.COMPLETED: "green", Status.FAILED: "red", Status.IN_PROGRESS: "yellow"}


def show_error(error: CoffreError) -> None:
    """Show an error on stderr: what happened, the other side's words, what to do."""
    _labelled("Error: ", f"{error.message} [{error.code}]", style="bold red")
    for line in filter(None, (error.detail or "").split("\n")):
        _print_line(error_console, f"  {line}", style="dim")
    if error.hint:
        _labelled("What to do: ", error.hint, style="bold")


def show_failure(failure: Failure) -> None:
    """Show why a run failed, as the catalog recorded it; the other side's message may have several lines."""
    message, _, detail = failure.message.partition("\n")
    show_error(CoffreError(message, code=failure.code, detail=detail or None, hint=failure.hint))


def say(text: str, *, style: str = "") -> None:
    """Print plain words; a person's terminal breaks them between words, a file gets one line."""
    _print_line(console, text, style=style)


def say_command(text: str) -> None:
    """Print a command that can be copied as it is: lines are only broken where it has lines of its own."""
    console.print(Text(f"  {visible(text, breaks=True)}", style="bold"), soft_wrap=True)


def remark(text: str, *, style: str = "") -> None:
    """Print plain words on stderr, which keeps stdout for JSON."""
    _print_line(error_console, text, style=style)


def remark_unread(damaged: Iterable[CoffreError]) -> None:
    """Say on stderr which records a list lacks, since they cannot be read, and what to do about each."""
    for one in damaged:
        remark(f"{one.message} {one.hint}", style="bold red")


def _labelled(label: str, text: str, *, style: str) -> None:
    line = Text(_fitted(error_console, label + visible(text)))
    line.stylize(style, 0, len(label))
    error_console.print(line, soft_wrap=True)


def _print_line(where: Console, text: str, *, style: str = "") -> None:
    where.print(Text(_fitted(where, visible(text)), style=style), soft_wrap=True)


def _fitted(where: Console, text: str) -> str:
    """Break lines between words on a terminal, further ones below the first's text; never inside a word."""
    if not where.is_terminal:
        return text
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        wrapped = textwrap.wrap(
            line, where.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        lines += wrapped or [""]
    return "\n".join(lines)


def print_json(data: object) -> None:
    """Print one JSON document on stdout, and nothing else."""
    console.file.write(visible_json(json.dumps(data, indent=2, default=str, ensure_ascii=False)) + "\n")


def age(then: datetime, now: datetime | None = None) -> str:
    """Return how long ago something was: 5 min ago, 3 h ago, 12 d ago."""
    # Another machine's clock may be ahead of ours.
    return f"{_apart(max(0.0, ((now or datetime.now(UTC)) - then).total_seconds()))} ago"


def ahead(then: datetime, now: datetime) -> str:
    """Return in how long something will be: in 5 min, in 3 h, in 12 d."""
    return f"in {_apart(max(0.0, (then - now).total_seconds()))}"


def _apart(seconds: float) -> str:
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds / divisor)} {unit}"
    return f"{int(seconds / 86400)} d"


def sparkline(values: Sequence[int]) -> str:
    """Return numbers as columns of a height in proportion to them, the largest as high as a line."""
    levels = "▁▂▃▄▅▆▇█" if console.encoding.lower().startswith("utf") else "_.-=+*%#"
    largest = max(values, default=0) or 1
    return "".join(levels[max(0, -(-len(levels) * value // largest) - 1)] for value in values)


def status_text(status: Status) -> Text:
    """Return a status in its colour."""
    return Text(status.value, style=_STYLES.get(status, ""))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print rows below their headings; where the terminal is too narrow for that, row below row.

    Ids and numbers stay whole, other words may be folded; no column is ever left out.

    Parameters
    ----------
    right
        Columns of numbers.
    whole
        Columns whose words are not folded either.
    """
    cells = [[Text(visible(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows]
    widths = _widths(columns, cells, {*right, *whole})
    if widths is None:
        _print_row_below_row(columns, cells)
        return
    _print_folded([Text(column, "bold") for column in columns], columns, widths, right)
    for row in cells:
        _print_folded(row, columns, widths, right)


def _print_folded(row: Sequence[Text], columns: Sequence[str], widths: Sequence[int], right: Sequence[str]) -> None:
    """Print one row; a cell that is wider than its column continues below."""
    folded = [[*cell.wrap(console, width, overflow="fold")] for cell, width in zip(row, widths, strict=True)]
    for parts in zip_longest(*folded, fillvalue=Text()):
        line = Text()
        for column, width, part in zip(columns, widths, parts, strict=True):
            part.rstrip()
            gap = " " * (width - part.cell_len)
            line.append_text(Text.assemble(gap, part, " ") if column in right else Text.assemble(part, gap, " "))
        line.rstrip()
        console.print(line, soft_wrap=True)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[Text]], whole: Container[str]) -> list[int] | None:
    """Return how wide each column is; None when they do not fit side by side."""
    wanted = [max([len(column), *(row[at].cell_len for row in rows)]) for at, column in enumerate(columns)]
    widths = [
        width if column in whole else _least(column, [row[at] for row in rows])
        for at, (column, width) in enumerate(zip(columns, wanted, strict=True))
    ]
    room = console.width - sum(widths) - (len(columns) - 1)
    if room < 0:
        return None
    while room and widths != wanted:
        at = max(range(len(columns)), key=lambda column: wanted[column] - widths[column])
        widths[at] += 1
        room -= 1
    return widths


def _least(column: str, cells: Sequence[Text]) -> int:
    """Return how narrow a column of words can be: its longest word, of long ones so much that they can be read."""
    return max([len(column), *(_least_of(word) for cell in cells for word in cell.plain.split())])


def _least_of(word: str) -> int:
    cells = cell_len(word)
    return cells if cells <= _WHOLE_CELLS or _ID.fullmatch(word) else _READABLE_CELLS


def _print_row_below_row(columns: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """Print each cell behind its heading: the first of a row on a line of its own, the others as many as fit."""
    for row in rows:
        lines = [*Text.assemble((columns[0], "bold"), " ", row[0]).wrap(console, console.width, overflow="fold")]
        line = Text()
        for column, cell in zip(columns[1:], row[1:], strict=True):
            pair = Text.assemble((column, "bold"), " ", cell)
            if line and line.cell_len + 2 + pair.cell_len > console.width - 2:
                lines += _indented(line)
                line = Text()
            line = Text.assemble(line, "  ", pair) if line else pair
        lines += _indented(line)
        for one in lines:
            console.print(one, soft_wrap=True)


def _indented(line: Text) -> list[Text]:
    return [Text.assemble("  ", part) for part in line.wrap(console, console.width - 2, overflow="fold")]


def backup_json(backup: Backup) -> dict[str, Any]:
    """Return the record of a backup for scripts; the names are a promise."""
    return _record_json(backup)


def restore_json(restore: Restore) -> dict[str, Any]:
    """Return the record of a restore for scripts; the names are a promise."""
    return _record_json(restore)


def _record_json(record: Backup | Restore) -> dict[str, Any]:
    """The record of a run that has ended may still hold the progress of its last heartbeat: null then."""
    ended = {"progress": None} if record.status.is_final else {}
    return record.model_dump(mode="json") | ended
