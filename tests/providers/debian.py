"""Packages of Debian, downloaded by apt and not installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from coffre_local.errors import ToolError


def unpack(place: Path, names: Sequence[str]) -> Path:
    """Return the root below which the files of packages are, where every user may read them.

    Raises
    ------
    ToolError
        This host has no apt, or it found no package.
    """
    root = place / "root"
    packages = place / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ToolError(f"{names[0]} is taken from Debian, and this host has no apt.", code="LOCAL_APT")
    fetched = subprocess.run(
        ["apt-get", "--quiet=2", "download", *names], cwd=packages, capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        raise ToolError("apt-get download failed.", code="LOCAL_APT", detail=fetched.stderr.strip()[-2000:])
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    for path in (place, *place.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    return root
