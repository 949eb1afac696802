"""A root directory with the programs that a stranger installs and nothing else: no packages, nothing of Coffre."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Enough for a busy machine; what waits for input that never comes fails the test.
_PATIENCE_SECONDS = 120
_NOT_OF_THE_LIBRARY = shutil.ignore_patterns(
    "site-packages", "dist-packages", "test", "tests", "idlelib", "ensurepip", "__pycache__", "config-*", "tkinter"
)
# /dev of this machine: `age` asks for a passphrase at /dev/tty.
_ENTER = 'mount --rbind /dev "$0/dev" && exec chroot "$0" /bin/sh -c "$1"'


@dataclass(frozen=True)
class Ended:
    """How a command ended, and all that its terminal showed."""

    status: int
    shown: str


@dataclass(frozen=True)
class CleanRoom:
    """The directory, and how to run commands in it."""

    root: Path

    @classmethod
    def build(cls, root: Path, programs: Iterable[Path]) -> CleanRoom:
        """Put python3, a shell and the programs with their libraries into a new directory."""
        for folder in ("usr/bin", "usr/lib", "bin", "dev", "tmp", "root"):
            (root / folder).mkdir(parents=True)
        room = cls(root)
        python = Path("/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable).resolve()
        library = Path(_said(str(python), "-I", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))").strip())
        shutil.copytree(library, root / library.relative_to("/"), ignore=_NOT_OF_THE_LIBRARY, symlinks=True)
        room._put(python, python)
        room._put(Path("/bin/sh").resolve(), Path("/bin/sh"))
        for program in programs:
            room._put(program.resolve(), Path("/usr/bin") / program.name)
        if not (root / "usr/bin/python3").exists():
            (root / "usr/bin/python3").symlink_to(python)
        found = [python, Path("/bin/sh"), *programs, *library.glob("lib-dynload/*.so")]
        for name, path in _libraries(found).items():
            room._put(path, Path("/usr/lib") / name if name else path)
        return room

    def _put(self, file: Path, place: Path) -> None:
        inside = self.root / place.relative_to("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, inside)
        inside.chmod(0o755)

    def run(self, command: str, environment: Mapping[str, str], *, typed: str = "") -> Ended:
        """Run a shell command at a terminal of its own; type a line when it asks for a passphrase."""
        own, terminal = os.openpty()
        enter = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount"]
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *enter, "sh", "-c", _ENTER, str(self.root), command],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", **environment},
        )
        os.close(terminal)
        shown = b""
        try:
            while select.select([own], [], [], _PATIENCE_SECONDS)[0]:
                try:
                    piece = os.read(own, 65536)
                except OSError:  # the last one that had the terminal has ended
                    break
                shown += piece
                if typed and re.search(rb"passphrase[^\n]*:\s*(\x1b\[\S*)?$", shown, re.IGNORECASE):
                    os.write(own, typed.encode() + b"\n")
                    typed = ""
            return Ended(process.wait(_PATIENCE_SECONDS), shown.decode())
        finally:
            process.kill()
            process.wait()
            os.close(own)


def _libraries(files: Iterable[Path]) -> dict[str, Path]:
    """Return the shared libraries that the files need, by name; "" is the loader, which has one place."""
    found: dict[str, Path] = {}
    for line in _said("ldd", *map(str, files)).splitlines():
        if match := re.match(r"\s+(\S+) => (/\S+) \(0x", line):
            found[match[1]] = Path(match[2])
        elif match := re.match(r"\s+(/\S+/ld-\S+) \(0x", line):
            found[""] = Path(match[1])
    return found


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
