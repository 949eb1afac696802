"""What the recipe talks about: architectures, pinned inputs, settings, failures."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

RECIPE_DIRECTORY = Path(__file__).resolve().parent.parent

Kind = Literal["deb", "wheel"]

# Of a wheel of pure Python.
ANY_ARCHITECTURE = "any"


class RecipeError(Exception):
    """The layer cannot be built as asked; the message says what, why and what to do."""


@dataclass(frozen=True, order=True)
class Input:
    """One file that goes into the layer, or that builds it, pinned by its hash: a line of ``inputs.lock``."""

    kind: Kind
    name: str
    version: str
    architecture: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name in the cache; part of the hash is in it, so that two pins never fight over one file."""
        suffix = "deb" if self.kind == "deb" else "whl"
        return f"{self.name}_{self.version}_{self.architecture}_{self.sha256[:12]}.{suffix}".replace(":", "%3a")

    @property
    def is_of_the_layer(self) -> bool:
        """Whether it goes into the layer: a wheel of pure Python is a library of the recipe."""
        return self.architecture != ANY_ARCHITECTURE

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.architecture})"


@dataclass(frozen=True)
class Architecture:
    """One architecture under the names that Lambda, Debian, the wheels and ELF give it."""

    name: str
    debian: str
    wheel: str
    elf_machine: str

    @property
    def pip_platforms(self) -> tuple[str, ...]:
        return tuple(f"manylinux{version}_{self.wheel}" for version in ("_2_28", "_2_27", "_2_17", "2014"))

    def builds_from(self, pin: Input) -> bool:
        return pin.architecture == (self.debian if pin.kind == "deb" else self.wheel)


ARCHITECTURES = {
    "x86_64": Architecture(name="x86_64", debian="amd64", wheel="x86_64", elf_machine="EM_X86_64"),
    "arm64": Architecture(name="arm64", debian="arm64", wheel="aarch64", elf_machine="EM_AARCH64"),
}


@dataclass(frozen=True)
class Settings:
    """What the environment decides about one build."""

    architecture: Architecture
    cache: Path
    strict: bool = False
    os_release: Path = Path("/etc/os-release")

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read COFFRE_ARCHITECTURE, COFFRE_CACHE_DIR and COFFRE_LAYER_STRICT.

        Raises
        ------
        RecipeError
            COFFRE_ARCHITECTURE names an architecture that Lambda does not have.
        """
        asked = env.get("COFFRE_ARCHITECTURE") or "x86_64"
        if asked not in ARCHITECTURES:
            raise RecipeError(f"COFFRE_ARCHITECTURE is {asked!r}; Lambda has {' and '.join(ARCHITECTURES)}.")
        user_cache = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = Path(env.get("COFFRE_CACHE_DIR") or user_cache / "coffre")
        return cls(ARCHITECTURES[asked], cache.absolute(), env.get("COFFRE_LAYER_STRICT") == "1")


_LINE = re.compile(r"(deb|wheel) (\S+) (\S+) (\S+) ([0-9a-f]{64})")


def read_lock(path: Path) -> tuple[str, list[Input]]:
    """Return the leading comment of a lock file and its inputs, in file order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = "".join(f"{line}\n" for line in lines if line.startswith("#"))
    inputs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise RecipeError(f"{path.name}, line {number}: expected 'deb|wheel NAME VERSION ARCHITECTURE SHA256'.")
        kind: Kind = "deb" if match[1] == "deb" else "wheel"
        inputs.append(Input(kind, match[2], match[3], match[4], match[5]))
    return comment, inputs


def write_lock(path: Path, comment: str, inputs: list[Input]) -> None:
    lines = [f"{pin.kind} {pin.name} {pin.version} {pin.architecture} {pin.sha256}\n" for pin in sorted(inputs)]
    path.write_text(comment + "".join(lines), encoding="utf-8")


def layer_name() -> str:
    """Return the name of the layer that is being built: the Makefiles set COFFRE_LAYER."""
    return os.environ.get("COFFRE_LAYER") or "pg_dump"


def say(line: str) -> None:
    """Print a line on standard output: ``sam build`` hides the standard error of a build that succeeds."""
    sys.stdout.write(f"{layer_name()} layer: {line}\n")
    sys.stdout.flush()
