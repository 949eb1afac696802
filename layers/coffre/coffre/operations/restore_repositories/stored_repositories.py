"""Which repositories a backup holds, and the entries of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from coffre.buckets.repositories.stored_objects import BUNDLES, HEAD, LFS, REFS
from coffre.model.errors import IntegrityError, StoreError
from coffre.model.manifest import Entry, Manifest
from coffre.model.names import visible
from coffre.policy.object_keys import key_choice
from coffre.vault.vault import Vault

_END = ".git/"
# As addresses of repositories are (`RepositoryAddress`); entries of a vault can be anyone's.
_NAME: Final = re.compile(r"[A-Za-z0-9.:-]+(/[A-Za-z0-9._~+-]+)+")
_DOTS: Final = frozenset({".", ".."})
_OID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass
class StoredRepository:
    """One repository of a backup: its bundles in order, its LFS objects, and its refs as ids by name.

    `entries` and `all_bytes` count everything that is stored of it.
    """

    name: str
    bundles: list[Entry] = field(default_factory=list)
    lfs: list[Entry] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    head: str | None = None
    unread: list[str] = field(default_factory=list)
    entries: int = 0
    all_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """The bytes of bundles and LFS objects."""
        return sum(entry.size for entry in (*self.bundles, *self.lfs))

    def take(self, entry: Entry) -> None:
        """Add one of its entries."""
        below, facts = entry.name.removeprefix(f"{self.name}/"), entry.object
        etag = (facts.etag if facts else None) or ""
        if facts is not None and facts.unread is not None:
            self.unread.append(f"{below}: {facts.unread}")
            return
        self.entries, self.all_bytes = self.entries + 1, self.all_bytes + entry.size
        if below.startswith(BUNDLES):
            self.bundles.append(entry)
        elif below.startswith(LFS):
            if not _OID.fullmatch(below.removeprefix(LFS)):
                raise _no_name(entry.name)
            self.lfs.append(entry)
        elif below.startswith(REFS):
            self.refs[below] = etag
        elif below == HEAD:
            self.head = etag.removeprefix("ref: ")


def stored_repositories(vault: Vault, manifest: Manifest) -> Iterator[StoredRepository]:
    """Yield the repositories of a backup, sorted by name.

    Raises
    ------
    IntegrityError
        `REPOSITORY_BROKEN`: a name is none that a backup writes. Clones are made under these names.
    """
    current: StoredRepository | None = None
    for entry in vault.entries(manifest):
        host, _, rest = entry.name.partition("/")
        name = f"{host}/{rest.partition(_END)[0]}.git"
        if current is None or current.name != name:
            if not _NAME.fullmatch(name) or not _DOTS.isdisjoint(name.split("/")):
                raise _no_name(entry.name)
            if current is not None:
                yield current
            current = StoredRepository(name)
        current.take(entry)
    if current is not None:
        yield current


def choose_repositories(vault: Vault, manifest: Manifest, patterns: Sequence[str]) -> list[StoredRepository]:
    """Return the repositories whose names fit a pattern, all of them without any; `.git` need not be given.

    Raises
    ------
    StoreError
        `REPOSITORY_UNMATCHED`: a pattern fits none.
    """
    found = list(stored_repositories(vault, manifest))
    chosen: list[StoredRepository] = []
    for pattern in patterns or ("**",):
        takes = key_choice((), (pattern, f"{pattern}.git"), ())
        fits = [one for one in found if takes(one.name)]
        if not fits:
            raise StoreError(
                f"The backup has no repository {pattern}.",
                code="REPOSITORY_UNMATCHED",
                detail=f"It has: {', '.join(one.name for one in found[:20]) or 'none'}",
                hint="Names begin with the host: github.com/acme/web; ** fits anything.",
            )
        chosen += [one for one in fits if one not in chosen]
    return chosen


def _no_name(name: str) -> IntegrityError:
    return IntegrityError(
        "The backup has a name that no backup of repositories writes.",
        code="REPOSITORY_BROKEN",
        detail=visible(name[:200]),
        hint="The vault was changed. Use an older backup, and find out who can write to it.",
    )
