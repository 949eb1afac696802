"""The wheel of the command, with the built template and layers in it: `make release`.

`uv tool install coffre-VERSION-py3-none-any.whl` then needs neither a checkout nor a compiler, on Linux and macOS: the
package and the command are pure Python, and the layers are only uploaded.

Notes
-----
- Made by hand, as a wheel is a ZIP archive with three files of text (PyPA's "Binary distribution format", 1.0): no
  build tool has to be trusted, and the same sources are the same bytes.
- Much of what the two architectures need is equal, byte code above all. One tar archive holds each file once (the
  others are links to it) and is compressed as a whole: 37 MB, where ZIP archives of the two would take 75.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import stat
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from backports import zstd

from coffre_cli.deploying.bundle import ARCHITECTURES, ARCHIVE, FACTS
from coffre_local.deployment import with_definitions

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = (ROOT / "layers" / "coffre" / "coffre", ROOT / "cli" / "coffre_cli")
ROLES: Final = ROOT / "docs" / "roles"
BUILT: Final = ROOT / ".aws-sam" / "release"
# Not in it: byte code (each Python writes its own), and what is compiled for a checkout's own machine.
_LEFT_OUT: Final = frozenset({"__pycache__", "bundle", "libcopydata.so", "libsha256.so", ".mypy_cache", ".ruff_cache"})
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
# The archive does not change by itself, and is read once for each deployment: as small as it can be.
_LEVEL: Final = 19


def build_wheel(built: Mapping[str, Path], output: Path, *, level: int = _LEVEL) -> Path:
    """Write the wheel, and `SHA256SUMS` next to it; return the wheel's place.

    Parameters
    ----------
    built
        Architecture -> a directory that `sam build` wrote for it.
    output
        A directory, made if it does not exist. What it has of other versions stays.
    level
        Of zstd; a test takes a low one.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    archive = bundle(built, level)
    facts = {
        "version": version,
        "architectures": sorted(built),
        "sha256": hashlib.sha256(archive).hexdigest(),
        "bytes": len(archive),
    }
    files = dict(_sources())
    files[f"coffre_cli/bundle/{ARCHIVE}"] = archive
    files[f"coffre_cli/bundle/{FACTS}"] = (json.dumps(facts, indent=1) + "\n").encode()
    about = f"{name}-{version}.dist-info"
    files[f"{about}/METADATA"] = _metadata(project).encode()
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: coffre\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    scripts = "".join(f"{command} = {entry}\n" for command, entry in project["scripts"].items())
    files[f"{about}/entry_points.txt"] = f"[console_scripts]\n{scripts}".encode()
    files[f"{about}/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    files[f"{about}/RECORD"] = _record(files, f"{about}/RECORD")
    output.mkdir(parents=True, exist_ok=True)
    wheel = output / f"{name}-{version}-py3-none-any.whl"
    wheel.write_bytes(_zipped(files))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (output / "SHA256SUMS").write_text(f"{digest}  {wheel.name}\n")
    return wheel


def bundle(built: Mapping[str, Path], level: int) -> bytes:
    """Return one compressed archive of the built code for all architectures, in which equal files are stored once."""
    output, first = io.BytesIO(), dict[str, str]()
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    with zstd.open(output, "wb", options=options) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
        for member, file in sorted(_built_files(built), key=_alike):
            body = file.read_bytes()
            digest = hashlib.sha256(body).hexdigest()
            entry = tarfile.TarInfo(member)
            entry.mode = 0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644
            same = first.setdefault(f"{entry.mode} {digest}", member)
            if same == member:
                entry.size = len(body)
                archive.addfile(entry, io.BytesIO(body))
            else:
                entry.type, entry.linkname = tarfile.LNKTYPE, same
                archive.addfile(entry)
    return output.getvalue()


def _built_files(built: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for architecture, place in built.items():
        with_definitions(place)
        for file in place.rglob("*"):
            if file.is_file():
                yield f"{architecture}/{file.relative_to(place)}", file


def _alike(found: tuple[str, Path]) -> tuple[str, str, str]:
    """Sort so that what resembles is close: it compresses better."""
    member, file = found
    return file.suffix, file.name, member


def _sources() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        for file in sorted(package.rglob("*")):
            if file.is_file() and not _LEFT_OUT & set(file.relative_to(package).parts):
                yield str(file.relative_to(package.parent)), file.read_bytes()
    yield "coffre_cli/receiver/receiver.yaml", (ROOT / "receiver.yaml").read_bytes()
    yield "coffre_cli/receiver/function/handler.py", (ROOT / "receiver" / "handler.py").read_bytes()
    for script in sorted(ROLES.glob("*.sql")):
        yield f"coffre_cli/roles/{script.name}", script.read_bytes()


def _metadata(project: Mapping[str, Any]) -> str:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"Requires-Python: {project['requires-python']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        *(f"Requires-Dist: {one}" for one in project["dependencies"]),
    ]
    return "\n".join(lines) + "\n"


def _record(files: Mapping[str, bytes], own: str) -> bytes:
    """Return the list of all files with their digests, as installers read it; its own line has none."""
    lines = []
    for name, body in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(body)}")
    return "\n".join([*lines, f"{own},,", ""]).encode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name, body in files.items():
            entry = zipfile.ZipInfo(name, _EARLIEST)
            # The archive is compressed already.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(ARCHIVE) else zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, body)
    return output.getvalue()


def main(arguments: Iterable[str]) -> int:
    """Build the wheel of what `make release` has built."""
    parser = argparse.ArgumentParser(prog="python -m supply_chain.release", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    wheel = build_wheel(
        {architecture: BUILT / architecture for architecture in ARCHITECTURES},
        parser.parse_args(list(arguments)).output,
    )
    sys.stdout.write(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB\n{(wheel.parent / 'SHA256SUMS').read_text()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
