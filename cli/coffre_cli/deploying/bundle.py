"""The built template with its functions and layers: carried by the wheel, or what `sam build` wrote.

The wheel carries one archive for both architectures, in which equal files are stored once, and its SHA-256
(`supply_chain/release.py` writes both). What an archive holds for one architecture is what `sam build` writes:
`template.yaml`, and a directory for each function and layer.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from coffre_cli.deploying.errors import BundleError

ARCHIVE: Final = "artifacts.tar.zst"
FACTS: Final = "artifacts.json"
TEMPLATE: Final = "template.yaml"
ARCHITECTURES: Final = ("x86_64", "arm64")
_CLI: Final = Path(__file__).parents[1]
PLACE: Final = _CLI / "bundle"
# Where `sam build` writes in a checkout.
_BUILT: Final = _CLI.parents[1] / ".aws-sam" / "build"
_BLOCK_BYTES: Final = 1 << 20
_AGAIN: Final = "Install the command again: uv tool install --force coffre-VERSION-py3-none-any.whl"


@dataclass(frozen=True)
class Bundle:
    """An archive with built code, and what is known of it."""

    archive: Path
    sha256: str
    version: str
    architectures: tuple[str, ...]

    @classmethod
    def carried(cls, place: Path = PLACE) -> Bundle | None:
        """Return what this installation carries; None in a checkout."""
        try:
            facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
            return cls(place / ARCHIVE, facts["sha256"], facts["version"], tuple(facts["architectures"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{place / FACTS} cannot be read.", detail=str(error)[:300], hint=_AGAIN) from error

    def unpack(self, architecture: str, directory: Path) -> Path:
        """Write the code for one architecture below an empty directory, and return its place.

        Raises
        ------
        BundleError
            `BUNDLE_DAMAGED`: the archive is missing, or its SHA-256 is not the recorded one: nothing was written.
            `BUNDLE_ARCHITECTURE`
        """
        if architecture not in self.architectures:
            raise BundleError(
                f"This installation has no code for {architecture}.",
                code="BUNDLE_ARCHITECTURE",
                hint=f"Choose --architecture {' or '.join(self.architectures)}.",
            )
        from backports import zstd

        try:
            with self.archive.open("rb") as file:
                self._verify(file)
                file.seek(0)
                # Equal files of two architectures are links: all are extracted.
                with zstd.open(file, "rb") as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
                    archive.extractall(directory, filter="data")
        except OSError as error:
            raise BundleError(f"{self.archive} cannot be unpacked.", detail=str(error)[:300], hint=_AGAIN) from error
        return directory / architecture

    def _verify(self, file: IO[bytes]) -> None:
        digest = hashlib.sha256()
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        if digest.hexdigest() != self.sha256:
            raise BundleError(
                f"{self.archive} is damaged: nothing was deployed.",
                detail=f"its SHA-256 is {digest.hexdigest()}, and {self.sha256} was recorded when it was made",
                hint=_AGAIN,
            )


@dataclass(frozen=True)
class Built:
    """A directory as `sam build` writes it, and the template in it."""

    place: Path
    template: dict[str, Any]


@contextmanager
def built_code(architecture: str, built: Path | None = None, *, place: Path = PLACE) -> Iterator[Built]:
    """Give the template and the code for one architecture.

    Parameters
    ----------
    built
        A directory that `sam build` wrote, instead of what this installation carries. A checkout carries nothing: its
        default is `.aws-sam/build`.

    Raises
    ------
    BundleError
        `BUNDLE_MISSING`, `BUNDLE_DAMAGED`, `BUNDLE_ARCHITECTURE`
    """
    carried = None if built else Bundle.carried(place)
    if carried is not None:
        with tempfile.TemporaryDirectory(prefix="coffre-deploy-") as scratch:
            yield _checked(carried.unpack(architecture, Path(scratch)), architecture)
        return
    yield _checked(built or _BUILT, architecture)


def _template(built: Path) -> dict[str, Any]:
    import yaml

    from coffre_cli.deploying.template import SafeLoader

    try:
        text = (built / TEMPLATE).read_text(encoding="utf-8")
    except OSError as error:
        raise BundleError(
            f"No built template was found at {built / TEMPLATE}.",
            code="BUNDLE_MISSING",
            detail=error.strerror,
            hint="In a checkout build it first: sam build. Or install the command from its wheel (docs/install.md).",
        ) from error
    try:
        template = yaml.load(text, Loader=SafeLoader)  # noqa: S506 - what `safe_load` takes, in C
    except yaml.YAMLError as error:
        raise BundleError(
            f"{built / TEMPLATE} is not YAML that `sam build` writes.",
            detail=str(error)[:300],
            hint="Give the directory that `sam build` wrote (.aws-sam/build), not the sources.",
        ) from error
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise BundleError(
            f"{built / TEMPLATE} is not a template.", hint="Give the directory that `sam build` wrote (.aws-sam/build)."
        )
    return template


def _checked(built: Path, architecture: str) -> Built:
    """Refuse code that was built for another architecture: Lambda would find out at the first invocation."""
    template = _template(built)
    resources: Mapping[str, Any] = template["Resources"]
    found = {
        one["Metadata"]["BuildArchitecture"]
        for one in resources.values()
        if isinstance(one, Mapping) and isinstance(one.get("Metadata", {}).get("BuildArchitecture"), str)
    }
    if found - {architecture}:
        raise BundleError(
            f"{built} was built for {', '.join(sorted(found))}, not for {architecture}.",
            code="BUNDLE_ARCHITECTURE",
            hint=f"Build it again (sam build --parameter-overrides Architecture={architecture}), or choose "
            f"--architecture {min(found)}.",
        )
    return Built(built, template)
