"""The working directory of a recovery: the progress file, which is also the report, and its page."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from coffre.model.errors import PermanentError
from coffre.model.recovery import PROGRESS_FILE, Recovery
from coffre.policy.recovery import is_complete

_PAGE: Final = "recovery.html"
_LOCK: Final = ".lock"


class ProgressError(PermanentError):
    """The working directory has no recovery to resume, or one that this run must not touch."""

    default_code = "RECOVERY_JOURNAL"


class ProgressFile:
    """The document in a working directory. Each change is on the disk before the next step begins."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def file(self) -> Path:
        """The document."""
        return self.directory / PROGRESS_FILE

    @property
    def page(self) -> Path:
        """The same for people."""
        return self.directory / _PAGE

    def read(self) -> Recovery:
        """Return the recovery.

        Raises
        ------
        ProgressError
            `RECOVERY_UNKNOWN`: no recovery was begun here. `RECOVERY_JOURNAL`: it cannot be read.
        """
        try:
            return Recovery.model_validate_json(self.file.read_bytes())
        except FileNotFoundError as error:
            raise ProgressError(
                f"{self.directory} has no recovery that could be resumed.",
                code="RECOVERY_UNKNOWN",
                hint="Name its directory with --work DIR, or begin one: coffre recover --kit DIR",
            ) from error
        except (OSError, ValidationError) as error:
            raise ProgressError(
                f"The progress file {self.file} cannot be read.",
                detail=error.strerror if isinstance(error, OSError) else "It was changed, or is of another version.",
                hint="Begin again with another working directory: --work DIR. What is restored already is not touched.",
            ) from error

    def refuse_unfinished(self) -> None:
        """Refuse to begin where an earlier recovery has not ended.

        Raises
        ------
        ProgressError
            `RECOVERY_UNFINISHED`
        """
        if not self.file.exists():
            return
        before = self.read()
        if before.confirmed_at is not None and not before.is_rehearsal and not is_complete(before):
            raise ProgressError(
                f"The recovery of {before.began_at:%Y-%m-%d %H:%M} UTC in {self.directory} has not ended.",
                code="RECOVERY_UNFINISHED",
                hint=f"Continue it: coffre recover --resume --work {self.directory}. Or begin another one with another "
                "--work DIR.",
            )

    def write(self, recovery: Recovery) -> None:
        """Replace the document in one step."""
        _replace(self.file, recovery.model_dump_json(indent=1).encode() + b"\n")

    def write_page(self, html: str) -> None:
        """Replace the page."""
        _replace(self.page, html.encode())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the directory, and keep other runs out of it.

        Raises
        ------
        ProgressError
            `RECOVERY_RUNNING`, `RECOVERY_JOURNAL`
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ProgressError(
                f"The working directory {self.directory} cannot be used.",
                detail=error.strerror,
                hint="Name another one: --work DIR",
            ) from error
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProgressError(
                f"Another `coffre recover` works in {self.directory}.",
                code="RECOVERY_RUNNING",
                hint="Wait for it, or use another working directory: --work DIR",
            ) from error


def _replace(file: Path, content: bytes) -> None:
    part = file.with_name(f".{file.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as writing:
        writing.write(content)
        writing.flush()
        os.fsync(writing.fileno())
    part.replace(file)
