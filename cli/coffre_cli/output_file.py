"""Files that a command writes: complete under their name, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from coffre.model.errors import ExportError


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write; it gets its name when the block ends without an error, and is removed otherwise.

    Raises
    ------
    ExportError
        `OUTPUT_EXISTS`, `OUTPUT_FULL`, `OUTPUT_FAILED`
    """
    refuse_existing(path)
    part = _part_of(path)
    with _explained(path):
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _give_name(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def new_directory(path: Path, *, may_exist: bool = False) -> Iterator[Path]:
    """Yield a directory to fill; it gets its name when the block ends without an error, and is removed otherwise.

    Parameters
    ----------
    may_exist
        The directory may exist already if it is empty.

    Raises
    ------
    ExportError
        `OUTPUT_EXISTS`, `OUTPUT_FULL`, `OUTPUT_FAILED`
    """
    refuse_existing(path, unless_empty=may_exist)
    part = _part_of(path)
    with _explained(path):
        part.mkdir(0o700)
        try:
            yield part
            part.rename(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def filled_directory(path: Path) -> Iterator[Path]:
    """Yield a directory to fill, for a path that is new or an empty directory.

    An empty directory stays: it may be a file system of its own (a volume), or the only place where this user may
    write. All that was written gets its names in it when the block ends without an error, and is removed otherwise.

    Raises
    ------
    ExportError
        `OUTPUT_EXISTS`, `OUTPUT_FULL`, `OUTPUT_FAILED`
    """
    refuse_existing(path, unless_empty=True)
    if not path.is_dir():
        with new_directory(path) as folder:
            yield folder
        return
    part = path / _part_of(Path("export"))
    with _explained(path):
        part.mkdir(0o700)
        try:
            yield part
            _give_names(part, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def standard_output(*, also_terminal: bool = False) -> Iterator[BinaryIO]:
    """Yield stdout for bytes, unless it is a terminal.

    Raises
    ------
    ExportError
        `OUTPUT_IS_TERMINAL`, `OUTPUT_CLOSED`, `OUTPUT_FULL`, `OUTPUT_FAILED`
    """
    if sys.stdout.isatty() and not also_terminal:
        raise ExportError(
            "The export would be written to the terminal.",
            code="OUTPUT_IS_TERMINAL",
            hint="Give a file (--output FILE), or redirect stdout to a file or a program.",
        )
    with _explained(None), os.fdopen(os.dup(1), "wb") as file:
        yield file


def refuse_existing(path: Path, *, unless_empty: bool = False) -> None:
    """Refuse to overwrite anything; an empty directory is allowed where one is wanted.

    Raises
    ------
    ExportError
        `OUTPUT_EXISTS`
    """
    is_empty = unless_empty and path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    if not is_empty and (path.exists() or path.is_symlink()):
        raise ExportError(
            f"{path} exists already.",
            code="OUTPUT_EXISTS",
            hint="Nothing is overwritten. Give another name with --output, or remove it first.",
        )


def _give_name(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # unlike a rename, it never replaces a file that was created meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        refuse_existing(path)
        part.rename(path)


def _give_names(part: Path, path: Path) -> None:
    """Move all that is in one directory up into another one, or nothing of it."""
    moved: list[Path] = []
    try:
        for one in sorted(part.iterdir()):
            place = path / one.name
            refuse_existing(place)  # it was created meanwhile, and a rename would replace it
            one.rename(place)
            moved.append(place)
    except BaseException:
        for place in moved:
            place.rename(part / place.name)
        raise


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    place = str(path) if path else "stdout"
    try:
        yield
    except BrokenPipeError as error:
        raise ExportError(
            "The program that read the export from stdout ended before the export did.",
            code="OUTPUT_CLOSED",
            hint="See that program's own error message.",
        ) from error
    except FileExistsError as error:
        raise ExportError(
            f"{place} was created by another process while the export ran.",
            code="OUTPUT_EXISTS",
            hint="Nothing is overwritten. Give another name with --output.",
        ) from error
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise ExportError(
            f"{place} has no space for the export." if is_full else f"The export could not be written to {place}.",
            code="OUTPUT_FULL" if is_full else "OUTPUT_FAILED",
            detail=error.strerror,
            hint="The partial file was removed. Choose a place with enough space: --output FILE."
            if is_full
            else "Check that the folder exists and that you may write there, or give another place: --output FILE.",
        ) from error
