"""The `search_path`s with which a source's definitions may have been made."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from coffre.model.names import quoted
from coffre.operations.restore_database.job import Source
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.archive.toc import is_of_database

_PATH_SETTING: Final = re.compile(r" SET search_path TO ([^;]*);")


_DEFAULT_PATH: Final = '"$user", public'


def paths_of(source: Source) -> Callable[[TocEntry], list[str]]:
    """Return a function that gives the `search_path`s with which an entry may have been made, the likeliest first."""
    recorded = [(path.role, path.path) for path in source.content.search_paths]
    if not recorded:  # an older backup: its archive has the database's settings
        settings = [text for entry in source.toc if is_of_database(entry) for text in [entry.definition]]
        recorded = [
            (None, ", ".join(quoted(name.strip().strip("'\"")) for name in found.split(",")))
            for text in settings
            for found in _PATH_SETTING.findall(text)
        ]
    recorded.append((None, _DEFAULT_PATH))

    def paths(entry: TocEntry) -> list[str]:
        own = [path for role, path in recorded if role == entry.owner]
        general = [path for role, path in recorded if role is None]
        others = [path for role, path in recorded if role not in (None, entry.owner)]
        named = [path.replace('"$user"', quoted(entry.owner or "public")) for path in (*own, *general, *others)]
        return list(dict.fromkeys(path for path in named if path.strip() not in ("", '""')))

    return paths
