"""Shared libraries of the system that the PostgreSQL binaries need: found with `ldd`, installed where allowed."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from coffre_local.errors import ToolError
from coffre_local.exclusive import exclusive

# Name of the library -> Debian 12's package of it.
PACKAGES = {
    "libcom_err.so.2": "libcom-err2",
    "libcrypto.so.3": "libssl3",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libk5crypto.so.3": "libk5crypto3",
    "libkeyutils.so.1": "libkeyutils1",
    "libkrb5.so.3": "libkrb5-3",
    "libkrb5support.so.0": "libkrb5support0",
    "libexslt.so.0": "libxslt1.1",
    "liblz4.so.1": "liblz4-1",
    "liblzma.so.5": "liblzma5",
    "libossp-uuid.so.16": "libossp-uuid16",
    "libreadline.so.8": "libreadline8",
    "libssl.so.3": "libssl3",
    "libtinfo.so.6": "libtinfo6",
    "libxml2.so.2": "libxml2",
    "libxslt.so.1": "libxslt1.1",
    "libz.so.1": "zlib1g",
    "libzstd.so.1": "libzstd1",
}
# Procedural languages need whole interpreters and no test of ours uses them.
LANGUAGES = ("plpython", "plperl", "pltcl")


def require_shared_libraries(home: Path, *, on_step: Callable[[str], None]) -> None:
    """Make sure that every library of a PostgreSQL home resolves.

    Missing packages are installed when this is root on Debian 12.

    Raises
    ------
    ToolError
        Libraries are missing and cannot be installed from here; the message names the packages.
    """
    missing = missing_libraries(home)
    if not missing:
        return
    if may_install() and missing <= PACKAGES.keys():
        # apt does not wait for another one: tools of two majors may be made at the same time.
        with exclusive(home.parent / "system-packages.lock"):
            if missing := missing_libraries(home):
                on_step(f"Installing the system packages {' '.join(_packages_of(missing))}")
                install(_packages_of(missing))
                missing = missing_libraries(home)
    if missing:
        raise ToolError(
            f"The PostgreSQL binaries need shared libraries that this system lacks: {', '.join(sorted(missing))}.",
            code="LOCAL_SHARED_LIBRARIES",
            hint=f"Install the packages (names of Debian 12): {' '.join(_packages_of(missing))}.",
        )


def _packages_of(libraries: set[str]) -> list[str]:
    return sorted({PACKAGES.get(name, name) for name in libraries})


def missing_libraries(home: Path) -> set[str]:
    """Return the names of the libraries that the programs and extensions of a PostgreSQL home need and cannot find."""
    files = [
        file
        for file in (*home.glob("bin/*"), *home.glob("lib/*.so*"))
        if not any(language in file.name for language in LANGUAGES)
    ]
    ldd = shutil.which("ldd")
    if ldd is None or not files:
        return set()
    environment = {"LD_LIBRARY_PATH": str(home / "lib"), "LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}
    result = subprocess.run([ldd, *files], capture_output=True, text=True, check=False, env=environment)
    return {line.split()[0] for line in result.stdout.splitlines() if line.endswith("=> not found")}


def may_install() -> bool:
    """Return whether packages may be installed: root on Debian 12."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    return release.get("ID") == "debian" and release.get("VERSION_ID") == "12"


def install(packages: list[str]) -> None:
    """Install Debian packages without questions."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        result = subprocess.run(
            ["apt-get", "--quiet=2", *arguments],  # noqa: S607 (apt-get of this system, wherever it is)
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if result.returncode:
            raise ToolError(
                f"apt-get {arguments[0]} failed.",
                code="LOCAL_APT",
                detail=result.stderr.strip()[-2000:],
                hint=f"Install these packages by hand: {' '.join(packages)}.",
            )
