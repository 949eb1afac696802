"""The glibc gate: nothing in the layer may need what Lambda's Amazon Linux 2023 does not have."""

import re
from dataclasses import dataclass
from pathlib import Path

from .elf import Elf, is_elf, read_elf
from .model import Architecture, RecipeError

# glibc of Amazon Linux 2023, the base of Lambda's python3.13 runtime (2026-11-21).
GLIBC_LIMIT = (2, 34)

# What glibc itself installs and the layer may therefore rely on.
GLIBC_LIBRARIES = frozenset(
    {
        "ld-linux-aarch64.so.1",
        "ld-linux-x86-64.so.2",
        "libc.so.6",
        "libdl.so.2",
        "libm.so.6",
        "libpthread.so.0",
        "libresolv.so.2",
        "librt.so.1",
        "libutil.so.1",
    }
)

# Carried next to Lambda's own, these would replace it for the child process, or need a newer glibc.
_NEVER_CARRIED = re.compile(r"(libstdc\+\+|libgcc_s|libicu\w*)\.so(\..*)?")


@dataclass(frozen=True)
class GateReport:
    """What the gate saw in a layer that passed."""

    elf_files: int
    highest_glibc: tuple[int, ...]


def check(home: Path, architecture: Architecture) -> GateReport:
    """Check every ELF file below `home`, the directory that holds ``bin`` and ``lib``.

    Raises
    ------
    RecipeError
        One or more files break a rule; the message names each file and rule.
    """
    library_directory = home / "lib"
    carried = {path.name for path in library_directory.iterdir()} if library_directory.is_dir() else set()
    problems: list[str] = []
    versions: set[tuple[int, ...]] = {(0,)}
    elf_files = 0
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if not is_elf(data):
            continue
        elf_files += 1
        name = path.relative_to(home).as_posix()
        try:
            elf = read_elf(data)
        except RecipeError as error:
            problems.append(f"{name}: {error}")
            continue
        problems += [f"{name}: {problem}" for problem in _problems(path.name, elf, carried, architecture)]
        versions |= {number for version in elf.versions if (number := glibc_number(version)) is not None}
    if elf_files == 0:
        problems.append(f"no ELF file below {home}")
    if problems:
        raise RecipeError("the glibc gate refuses this layer:\n  " + "\n  ".join(problems))
    return GateReport(elf_files, max(versions))


def glibc_number(version: str) -> tuple[int, ...] | None:
    """Return the number of a glibc symbol version: ``GLIBC_2.34`` is ``(2, 34)``; None for a name without a number."""
    match = re.fullmatch(r"GLIBC_(\d+(?:\.\d+)+)", version)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def _problems(file_name: str, elf: Elf, carried: set[str], architecture: Architecture) -> list[str]:
    limit = ".".join(str(part) for part in GLIBC_LIMIT)
    problems: list[str] = []
    if elf.machine != architecture.elf_machine:
        problems.append(f"is not built for {architecture.name}")
    if file_name in GLIBC_LIBRARIES or _NEVER_CARRIED.fullmatch(file_name):
        problems.append("must come from the Lambda runtime, never from a layer")
    unresolved = [library for library in elf.needed if library not in carried | GLIBC_LIBRARIES]
    problems += [f"needs {library}, which is neither in the layer's lib nor part of glibc" for library in unresolved]
    for version in elf.versions:
        number = glibc_number(version)
        # A name without a number (GLIBC_PRIVATE, GLIBC_ABI_DT_RELR) binds to one exact or a newer glibc.
        if version.startswith("GLIBC_") and (number is None or number > GLIBC_LIMIT):
            problems.append(f"needs {version}, but Lambda has glibc {limit}")
    return problems
