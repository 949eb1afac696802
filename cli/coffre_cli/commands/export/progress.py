"""The progress bar of exports, on terminals only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from coffre.model.names import visible
from coffre_cli.screen import error_console

# The end of a long name says more than its beginning.
_NAME_CHARACTERS: Final = 60


@contextmanager
def export_progress(total_bytes: int | None) -> Iterator[Callable[[int, str], None]]:
    """Yield what takes the number of further bytes and the name of their table or object."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    bar = Progress(
        TextColumn("Exporting"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", markup=False),
        console=error_console,
        transient=True,
        disable=not error_console.is_terminal,
    )
    with bar:
        task = bar.add_task("export", total=total_bytes, name="")
        yield lambda count, name: bar.update(task, advance=count, name=visible(name[-_NAME_CHARACTERS:]))
