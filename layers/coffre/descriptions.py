"""Shortens botocore's descriptions by what no function reads. The layer's build runs it.

A client is made from the description of its service, half of which is documentation, and from the endpoints of all 400
services: to read both was a tenth of a cold start.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any


def without_documentation(value: Any) -> Any:
    """Return a description with empty texts about its operations, shapes and members.

    They stay where they are: botocore asks for some of them with every call. A member may be called `documentation`
    too: that one is no text.
    """
    if isinstance(value, dict):
        return {
            name: "" if name == "documentation" and isinstance(inner, str) else without_documentation(inner)
            for name, inner in value.items()
        }
    return [without_documentation(inner) for inner in value] if isinstance(value, list) else value


def main(data: Path) -> None:
    """Write the descriptions below a directory, and the endpoints of these services, again."""
    prefixes = set()
    for packed in sorted(data.glob("*/*/service-2.json.gz")):
        description = json.loads(gzip.decompress(packed.read_bytes()))
        prefixes.add(description["metadata"]["endpointPrefix"])
        shorter = _short(without_documentation(description)).encode()
        packed.write_bytes(gzip.compress(shorter, mtime=0))
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: one for name, one in partition["services"].items() if name in prefixes}
    (data / "endpoints.json").write_text(_short(endpoints))


def _short(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
