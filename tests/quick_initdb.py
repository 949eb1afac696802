"""`initdb`, sooner: a data directory like one that was made before is a copy of it, with an identity of its own.

`initdb` computes for half a second what it then writes. What no two servers share is made for each of them: the system
identifier, and the superuser's name and password.
"""

from __future__ import annotations

import secrets
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from coffre_local.toolchain import CHECKOUT

_TOOLS: Final = CHECKOUT / ".tools"
# Where the first page of a segment of the log names the system (`XLogLongPageHeaderData`).
_SYSTEM_IN_LOG: Final = 24
_CASTAGNOLI: Final = 0x82F63B78
_SETTINGS: Final = ("-cshared_buffers=1MB", "-cdynamic_shared_memory_type=mmap", "-cfsync=off")


@dataclass(frozen=True)
class _Original:
    """A data directory as `initdb` left it, and whose it is."""

    data: Path
    superuser: str
    password: str | None


@contextmanager
def copy_clusters(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run `initdb` of the checkout's tools once with the same options; after that, copy what it made."""
    originals: dict[tuple[str, ...], _Original] = {}
    run = subprocess.run
    directory = Path(tempfile.mkdtemp(prefix="coffre-server-"))
    directory.chmod(0o711)

    def made(argv: Any, **how: Any) -> subprocess.CompletedProcess[Any]:
        if not _is_ours(argv):
            return run(argv, **how)
        options = dict(argument.partition("=")[::2] for argument in argv[1:])
        data, superuser, file = Path(options.pop("--pgdata")), options.pop("--username"), options.pop("--pwfile", None)
        password = Path(file).read_text().strip() if file else None
        key = (argv[0], *map("=".join, sorted(options.items())))
        as_whom = {
            name: value for name, value in how.items() if name not in ("capture_output", "check", "text", "timeout")
        }
        if (original := originals.get(key)) is None:
            done = run(argv, **how)
            if done.returncode == 0:
                originals[key] = _Original(directory / str(len(originals)), superuser, password)
                run(["cp", "-Rp", data, originals[key].data], check=True)
            return done
        run(["cp", "-Rp", original.data, data], check=True, **as_whom)
        identify(data)
        if (superuser, password) != (original.superuser, original.password):
            server = [argv[0].removesuffix("initdb") + "postgres", "--single", "-D", str(data), *_SETTINGS, "postgres"]
            run(
                server,
                input=_rename(original.superuser, superuser, password),
                check=True,
                capture_output=True,
                **as_whom,
            )
        return subprocess.CompletedProcess(argv, 0, *(("", "") if how.get("text") else (b"", b"")))

    patch.setattr(subprocess, "run", made)
    yield
    shutil.rmtree(directory)


def _is_ours(argv: Any) -> bool:
    """Tell whether this is `initdb` of the checkout's tools: layers and stand-ins have their own."""
    if not isinstance(argv, list) or not str(argv[0]).endswith("/initdb"):
        return False
    return Path(argv[0]).is_relative_to(_TOOLS)


def identify(data: Path) -> None:
    """Give a copied data directory a system identifier of its own."""
    identifier = struct.pack("=Q", secrets.randbits(63))
    control = data / "global" / "pg_control"
    with control.open("r+b") as file:
        before = file.read()
        length = next(end for end in range(100, len(before), 4) if _crc32c(before[:end]) == before[end : end + 4])
        changed = identifier + before[8:length]
        file.seek(0)
        file.write(changed + _crc32c(changed))
    [segment] = (path for path in (data / "pg_wal").iterdir() if path.is_file())
    with segment.open("r+b") as file:
        file.seek(_SYSTEM_IN_LOG)
        assert file.read(8) == before[:8]
        file.seek(_SYSTEM_IN_LOG)
        file.write(identifier)


def _rename(original: str, superuser: str, password: str | None) -> bytes:
    """Return statements for a server with a single user, which reads one from each line."""
    quoted = "NULL" if password is None else "'{}'".format(password.replace("'", "''"))
    return (
        f"UPDATE pg_authid SET rolname = '{superuser}' WHERE rolname = '{original}'\n"
        f'ALTER ROLE "{superuser}" PASSWORD {quoted}\n'
    ).encode()


def _crc32c(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return struct.pack("=I", crc ^ 0xFFFFFFFF)
