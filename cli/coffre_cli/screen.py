"""What a person sees: sizes, times, tables, errors. Scripts get JSON on stdout instead."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from coffre.model.backup import Backup, Failure, Restore, Status
from coffre.model.errors import CoffreError

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# For measuring: how wide something would like to be.
_UNBOUNDED = console.options.update(width=10_000)
_STYLES = {Status.COMPLETED: "green", Status.FAILED: "red", Status.IN_PROGRESS: "yellow"}


def show_error(error: CoffreError) -> None:
    """Show an error on stderr: what happened, the other side's words, what to do."""
    _labelled("Error: ", f"{error.message} [{error.code}]", style="bold red")
    for line in (error.detail or "").splitlines():
        _print_line(error_console, f"  {line}", style="dim")
    if error.hint:
        _labelled("What to do: ", error.hint, style="bold")


def show_failure(failure: Failure) -> None:
    """Show why a run failed, as the catalog recorded it."""
    show_error(CoffreError(failure.message, code=failure.code, hint=failure.hint))


def say(text: str, *, style: str = "") -> None:
    """Print plain words; a person's terminal breaks them between words, a file gets one line."""
    _print_line(console, text, style=style)


def say_command(text: str) -> None:
    """Print a command that can be copied as it is: it is never broken into lines."""
    console.print(Text(f"  {text}", style="bold"), soft_wrap=True)


def remark(text: str) -> None:
    """Print plain words on stderr, which keeps stdout for JSON."""
    _print_line(error_console, text)


def _labelled(label: str, text: str, *, style: str) -> None:
    line = Text(_fitted(error_console, label + text))
    line.stylize(style, 0, len(label))
    error_console.print(line, soft_wrap=True)


def _print_line(where: Console, text: str, *, style: str = "") -> None:
    where.print(Text(_fitted(where, harmless(text)), style=style), soft_wrap=True)


def harmless(text: str) -> str:
    """Show control characters, which names of objects may have, instead of sending them to a terminal."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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
    console.file.write(json.dumps(data, indent=2, default=str, ensure_ascii=False) + "\n")


def size(count: int | None) -> str:
    """Return bytes for a person: 1.5 MB (decimal units)."""
    if count is None:
        return "-"
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB", "PB"):
        if value < 999.95:  # what would be shown as 1000.0
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"


def duration(milliseconds: int | None) -> str:
    """Return a duration for a person: 850 ms, 12.3 s, 4 min 05 s, 2 h 03 min."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def age(then: datetime, now: datetime | None = None) -> str:
    """Return how long ago something was: 5 min ago, 3 h ago, 12 d ago."""
    # Another machine's clock may be ahead of ours.
    seconds = max(0.0, ((now or datetime.now(UTC)) - then).total_seconds())
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds / divisor)} {unit} ago"
    return f"{int(seconds / 86400)} d ago"


def status_text(status: Status) -> Text:
    """Return a status in its colour."""
    return Text(status.value, style=_STYLES.get(status, ""))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> None:
    """Print rows below their headings.

    Parameters
    ----------
    right
        Columns of numbers.
    optional
        Columns that a narrow terminal does without, the first one first.
    """
    cells = list(rows)
    shown = list(columns)
    for dropped in (None, *optional):
        shown = [column for column in shown if column != dropped]
        table = _table(columns, shown, cells, right)
        if Measurement.get(console, _UNBOUNDED, table).maximum <= console.width:
            break
    console.print(table)


def _table(
    columns: Sequence[str], shown: Sequence[str], rows: list[Sequence[str | Text]], right: Sequence[str]
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in shown:
        # What is copied, and numbers, stay whole; other words may be folded.
        whole = column == "ID" or column in right
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=whole,
            overflow="fold",
            min_width=len(column),
        )
    for row in rows:
        chosen = [cell for column, cell in zip(columns, row, strict=True) if column in shown]
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in chosen))
    return table


def backup_json(backup: Backup) -> dict[str, Any]:
    """Return the record of a backup for scripts; the names are a promise."""
    return backup.model_dump(mode="json")


def restore_json(restore: Restore) -> dict[str, Any]:
    """Return the record of a restore for scripts; the names are a promise."""
    return restore.model_dump(mode="json")
