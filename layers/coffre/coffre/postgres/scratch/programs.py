"""The programs and extensions of a scratch server, as the user that it runs as may use them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path


def trust_extensions(home: Path, directory: Path) -> None:
    """Let a role that is no superuser create every extension that the server has: copies of the control files say so.

    What an extension keeps from ordinary roles (files, other servers) it still does.
    """
    trusted = directory / "trusted" / "extension"
    trusted.mkdir(parents=True)
    scripts = home / "share" / "extension"
    for control in scripts.glob("*.control"):
        lines = [line for line in control.read_text().splitlines() if not re.match(r"\s*(trusted|superuser)\s*=", line)]
        lines += ["trusted = true", *([] if _names_directory(lines) else [f"directory = '{scripts}'"])]
        (trusted / control.name).write_text("\n".join(lines) + "\n")
    _open_to_all(directory / "trusted")


def _names_directory(lines: list[str]) -> bool:
    return any(re.match(r"\s*directory\s*=", line) for line in lines)


def reachable(home: Path, directory: Path) -> Path:
    """Return the programs, or a copy of them when the user that the server runs as cannot reach them."""
    real = (home / "bin" / "postgres").resolve()
    if all(place.stat().st_mode & 0o001 for place in real.parents):
        return home
    copy = directory / "programs"
    for part in ("bin", "lib", "share"):
        shutil.copytree(home / part, copy / part, copy_function=_link)
    _open_to_all(copy)
    return copy


def _open_to_all(top: Path) -> None:
    """Let the user that the server runs as read what we have made, whatever our own umask is."""
    for place in (top, *top.rglob("*")):
        place.chmod(0o755 if place.is_dir() or place.stat().st_mode & 0o100 else 0o644)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
