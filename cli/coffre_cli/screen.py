"""What a person sees: sizes, times, tables, errors. Scripts get JSON on stdout instead."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from coffre.model.backup import Backup, Failure, Status
from coffre.model.errors import CoffreError

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)

_STYLES = {Status.COMPLETED: "green", Status.FAILED: "red", Status.IN_PROGRESS: "yellow"}


def show_error(error: CoffreError) -> None:
    """Show an error on stderr: what happened, the other side's words, what to do."""
    error_console.print(
        Text("Error: ", style="bold red"), Text(f"{error.message} [{error.code}]"), sep="", soft_wrap=True
    )
    if error.detail:
        error_console.print(Text(f"  {error.detail}", style="dim"), soft_wrap=True)
    if error.hint:
        error_console.print(Text("What to do: ", style="bold"), Text(error.hint), sep="", soft_wrap=True)


def show_failure(failure: Failure) -> None:
    """Show why a run failed, as the catalog recorded it."""
    show_error(CoffreError(failure.message, code=failure.code, hint=failure.hint))


def say(text: str, *, style: str = "") -> None:
    """Print one line of plain words."""
    console.print(Text(text, style=style), soft_wrap=True)


def print_json(data: object) -> None:
    """Print one JSON document on stdout, and nothing else."""
    console.file.write(json.dumps(data, indent=2, default=str, ensure_ascii=False) + "\n")


def size(count: int | None) -> str:
    """Return bytes for a person: 1.5 MB (decimal units)."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def duration(milliseconds: int | None) -> str:
    """Return a duration for a person: 850 ms, 12.3 s, 4 min 05 s."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def age(then: datetime, now: datetime | None = None) -> str:
    """Return how long ago something was: 5 min ago, 3 h ago, 12 d ago."""
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds / divisor)} {unit} ago"
    return f"{int(seconds / 86400)} d ago"


def status_text(status: Status) -> Text:
    """Return a status in its colour."""
    return Text(status.value, style=_STYLES.get(status, ""))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: Sequence[str] = ()) -> None:
    """Print rows below their headings; numbers go to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column != "TIERS")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console.print(table)


def backup_json(backup: Backup) -> dict[str, Any]:
    """Return the record of a backup for scripts; the names are a promise."""
    return backup.model_dump(mode="json")
