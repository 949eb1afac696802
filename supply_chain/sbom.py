"""`python -m supply_chain.sbom`: what is in the layers, as one CycloneDX 1.6 document, and the list of licences.

Every file of every layer belongs to one component: a Python distribution (by its RECORD), a Debian package or wheel of
PostgreSQL (by the layer's own `share/doc/FILES`), or Coffre itself. A file that belongs to none is an error.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from importlib.util import cache_from_source, source_from_cache
from pathlib import Path
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from layers.pg_dump.recipe.model import ARCHITECTURES, Input, read_lock
from packageurl import PackageURL

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHON_LAYERS: Final = {"CoffreLayer": "coffre", "NotifyLayer": "notify", "ConsoleLayer": "console"}
POSTGRESQL_LAYERS: Final = {"PostgresqlClientLayer": "pg_dump", "PostgresqlServerLayer": "postgres_server"}
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_COFFRE_VERSION: Final = re.compile(r'^version = "([^"]+)"', re.MULTILINE)


class SbomError(Exception):
    """A file of a layer belongs to no component, or a component to no pinned input."""


@dataclass
class Part:
    """A component of a layer, with the paths of its files below the layer."""

    name: str
    version: str
    purl: PackageURL
    licences: tuple[str, ...]
    hashes: tuple[str, ...]
    files: list[str] = field(default_factory=list)


def parts_of(layer: str, built: Path) -> list[Part]:
    """Return the components of a built layer, every file in exactly one of them.

    Raises
    ------
    SbomError
        A file belongs to none.
    """
    parts = _python_parts(layer, built) if layer in PYTHON_LAYERS else _postgresql_parts(layer, built)
    owned = {name for part in parts for name in part.files}
    present = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    if unknown := sorted(present - owned):
        raise SbomError(f"{layer}: {len(unknown)} files belong to no component, the first is {unknown[0]}")
    for part in parts:
        part.files = sorted(present & set(part.files))
    return parts


def bom_of(layers: Mapping[str, Path]) -> Bom:
    """Return the document for built layers: layer name -> its directory."""
    top = []
    for layer, built in layers.items():
        components = [_component(layer, built, part) for part in parts_of(layer, built)]
        top.append(Component(name=layer, type=ComponentType.CONTAINER, bom_ref=layer, components=components))
    return Bom(components=top)


def licences_of(layers: Mapping[str, Path]) -> list[str]:
    """Return one line for each component: name, version, licences, layers."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for layer, built in layers.items():
        for part in parts_of(layer, built):
            found[part.name, part.version, ", ".join(part.licences)].append(layer)
    return [
        f"{name} {version}: {licences} ({', '.join(where)})"
        for (name, version, licences), where in sorted(found.items())
    ]


def build_layers(architecture: str, directory: Path) -> dict[str, Path]:
    """Build the layers as `sam build` does, and return their directories."""
    environment = {**os.environ, "COFFRE_ARCHITECTURE": architecture}
    built = {}
    for layer, folder in {**PYTHON_LAYERS, **POSTGRESQL_LAYERS}.items():
        built[layer] = directory / layer
        command = ["make", "--silent", "-C", str(ROOT / "layers" / folder), f"build-{layer}"]
        done = subprocess.run(
            [*command, f"ARTIFACTS_DIR={built[layer]}"], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SbomError(f"{layer} could not be built:\n{done.stderr[-4000:]}")
    return built


def _python_parts(layer: str, built: Path) -> list[Part]:
    pinned = _pinned_wheels(ROOT / "layers" / PYTHON_LAYERS[layer] / "requirements.txt")
    parts = [_distribution(one, pinned) for one in distributions(path=[str(built / "python")])]
    for own in ("coffre", "coffre_console"):
        package = built / "python" / own
        if package.is_dir():
            (version,) = _COFFRE_VERSION.findall((ROOT / "pyproject.toml").read_text())
            files = [str(path.relative_to(built)) for path in package.rglob("*") if path.is_file()]
            parts.append(Part(own, version, PackageURL("generic", None, own, version), ("MIT",), (), files))
    return parts


def _distribution(one: Distribution, pinned: Mapping[str, tuple[str, ...]]) -> Part:
    name, version = one.name.lower().replace("_", "-").replace(".", "-"), one.version
    key = f"{name}=={version}"
    if key not in pinned:
        raise SbomError(f"{key} is in a layer, and in no requirements.txt.")
    files = [os.path.normpath(f"python/{file}") for file in one.files or ()]
    # The layers compile them: RECORD has the sources.
    files += [cache_from_source(file) for file in files if file.endswith(".py")]
    return Part(name, version, PackageURL("pypi", None, name, version), _licences_of(one), pinned[key], files)


def _licences_of(one: Distribution) -> tuple[str, ...]:
    if expression := one.metadata.get("License-Expression"):
        return (expression,)
    classifiers = one.metadata.get_all("Classifier") or []
    named = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License :: ")]
    stated = (one.metadata.get("License") or "").strip()
    texts = [
        f"see {Path(str(file)).name}" for file in one.files or () if re.search("(?i)licen[cs]e", Path(str(file)).name)
    ]
    return tuple(named) or ((stated.splitlines()[0],) if stated else tuple(texts) or ("not stated",))


def _pinned_wheels(requirements: Path) -> dict[str, tuple[str, ...]]:
    """Return name==version -> the hashes of its files."""
    found: dict[str, tuple[str, ...]] = {}
    for block in re.split(r"\n(?=\S)", requirements.read_text()):
        name = re.match(r"([a-z0-9-]+==[^ \\;]+)", block)
        if name:
            found[name[1]] = tuple(_HASH.findall(block))
    return found


def _postgresql_parts(layer: str, built: Path) -> list[Part]:
    documents = built / "postgresql" / "share" / "doc"
    inputs = _inputs(layer, built)
    owned: dict[str, list[str]] = defaultdict(list)
    for line in (documents / "FILES").read_text().splitlines():
        name, _, owner = line.partition("\t")
        owned[owner].append(f"postgresql/{name}")
    parts = [_input(inputs[owner], documents, files) for owner, files in sorted(owned.items())]
    lists = ["postgresql/share/doc/COMPONENTS", "postgresql/share/doc/FILES"]
    return [*parts, Part("coffre", "layer", PackageURL("generic", None, "coffre"), ("MIT",), (), lists)]


def _inputs(layer: str, built: Path) -> dict[str, Input]:
    """Return the pinned inputs by name, for the architecture that the layer was built for."""
    _, pins = read_lock(ROOT / "layers" / POSTGRESQL_LAYERS[layer] / "inputs.lock")
    components = (built / "postgresql" / "share" / "doc" / "COMPONENTS").read_text()
    (architecture,) = [one for one in ARCHITECTURES.values() if f"({one.wheel})" in components]
    return {pin.name: pin for pin in pins if architecture.builds_from(pin)}


def _input(pin: Input, documents: Path, files: list[str]) -> Part:
    if pin.kind == "wheel":
        purl = PackageURL("pypi", None, pin.name, pin.version)
        return Part(pin.name, pin.version, purl, ("PostgreSQL",), (pin.sha256,), files)
    purl = PackageURL("deb", "debian", pin.name, pin.version, {"arch": pin.architecture, "distro": "bookworm"})
    copyright_file = documents / pin.name / "copyright"
    text = copyright_file.read_text(errors="replace") if copyright_file.exists() else ""
    # Debian's machine-readable form of copyright files names them, with a text after each.
    named = tuple(dict.fromkeys(re.findall(r"^License: *(\S.*)$", text, re.MULTILINE)))
    return Part(pin.name, pin.version, purl, named or (f"see share/doc/{pin.name}/copyright",), (pin.sha256,), files)


def _component(layer: str, built: Path, part: Part) -> Component:
    factory = LicenseFactory()
    return Component(
        name=part.name,
        version=part.version,
        bom_ref=f"{layer}/{part.name}",
        purl=part.purl,
        licenses=[factory.make_with_name(licence) for licence in part.licences],
        # Several: one for each wheel that the lock allows.
        properties=[Property(name="coffre:input:sha256", value=value) for value in part.hashes],
        components=[_file(layer, built, name) for name in part.files if not _is_compiled(name, part.files)],
    )


def _is_compiled(name: str, files: Sequence[str]) -> bool:
    return name.endswith(".pyc") and source_from_cache(name) in files


def _file(layer: str, built: Path, name: str) -> Component:
    digest = hashlib.sha256((built / name).read_bytes()).hexdigest()
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
    return Component(name=name, type=ComponentType.FILE, bom_ref=f"{layer}:{name}", hashes=hashes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the layers, and write the document and the licences."""
    parser = argparse.ArgumentParser(prog="python -m supply_chain.sbom", description=__doc__)
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="x86_64")
    parser.add_argument("--output", type=Path, help="default: sbom-<architecture>.cdx.json")
    options = parser.parse_args(arguments)
    output = options.output or Path(f"sbom-{options.architecture}.cdx.json")
    with tempfile.TemporaryDirectory() as scratch:
        layers = build_layers(options.architecture, Path(scratch))
        output.write_text(JsonV1Dot6(bom_of(layers)).output_as_string(indent=1))
        for line in licences_of(layers):
            sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"Every file of every layer, with its component: {output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
