"""PostgreSQL 15 with PostGIS: Debian's, of which no more than the extension and what it links to is unpacked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.providers.debian import unpack

from coffre_local.shared_libraries import install, may_install, missing_libraries

_PACKAGES: Final = (
    *("postgresql-15-postgis-3", "postgresql-15-postgis-3-scripts", "libgeos-c1v5", "libgeos3.11.1", "libproj25"),
    *("libjson-c5", "libprotobuf-c1"),
)
# As Debian names them, whose alternatives bring the name of the extension.
_SCRIPTS: Final = {"postgis-3.control": "postgis.control", "postgis--3.3.2.sql": "postgis--3.3.2.sql"}


@contextmanager
def with_postgis(home: Path) -> Iterator[Path]:
    """Give a copy of a home of PostgreSQL 15 that has PostGIS."""
    with tempfile.TemporaryDirectory(prefix="coffre-postgis-") as directory:
        copy, root = Path(directory) / "home", unpack(Path(directory), _PACKAGES)
        shutil.copytree(home, copy, symlinks=True)
        libraries = next(root.glob("usr/lib/*-linux-gnu"))
        for library in (root / "usr/lib/postgresql/15/lib/postgis-3.so", *libraries.glob("*.so.*")):
            shutil.copy(library, copy / "lib")
        for name, wanted in _SCRIPTS.items():
            shutil.copy(root / "usr/share/postgresql/15/extension" / name, copy / "share" / "extension" / wanted)
        if missing_libraries(copy) and may_install():
            install(["libproj25"])  # with what it links to itself
        yield copy
