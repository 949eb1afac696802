"""The built template as CloudFormation takes it: code as archives in a bucket."""

from __future__ import annotations

import copy
import io
import json
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

# What has code of its own, and where it says so.
_CODE: Final = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
# The earliest that an archive can say: the same files are the same bytes, whenever they were built.
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)

_MACHINE: Final = "AWS::Serverless::StateMachine"

type Store = Callable[[str, bytes], Mapping[str, str]]


def packaged(template: Mapping[str, Any], built: Path, store: Store) -> dict[str, Any]:
    """Return a template whose functions and layers are in a bucket; CloudFormation expands the SAM transform itself.

    Definitions of state machines become a part of the template.

    Parameters
    ----------
    built
        The directory that the template's paths are relative to.
    store
        Called with a logical id and an archive; returns the place as `Bucket` and `Key`.
    """
    ready = copy.deepcopy(dict(template))
    for name, resource in ready["Resources"].items():
        # How to build a layer is said there: it is built.
        resource.pop("Metadata", None)
        key = _CODE.get(resource["Type"])
        if key is not None:
            code = resource["Properties"][key]
            resource["Properties"][key] = dict(store(name, archived(built / code)))
        if resource["Type"] == _MACHINE:
            definition = built / resource["Properties"].pop("DefinitionUri")
            resource["Properties"]["Definition"] = json.loads(definition.read_text(encoding="utf-8"))
    return ready


def archived(directory: Path) -> bytes:
    """Return a directory as a ZIP archive, the same bytes for the same files: sorted, without times and owners."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in directory.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(file.relative_to(directory)), _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            runs = file.stat().st_mode & stat.S_IXUSR
            entry.external_attr = (stat.S_IFREG | (0o755 if runs else 0o644)) << 16
            archive.writestr(entry, file.read_bytes())
    return output.getvalue()
