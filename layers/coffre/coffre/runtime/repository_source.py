"""What a backup of repositories reads: their servers, with the tokens of their secrets, and the backup before."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from coffre.buckets.repositories.credentials import Credentials, parse_credentials
from coffre.buckets.repositories.forges import repositories_of
from coffre.buckets.repositories.git_http import Wire
from coffre.buckets.repositories.reader import RepositoryReader, Wanted
from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError, StoreError
from coffre.model.manifest import Entry, Manifest
from coffre.model.repository_target import RepositoryTarget
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.runtime.bootstrap import Services
from coffre.runtime.function import utc_now
from coffre.vault.history import usable_packs


def open_repositories(
    services: Services,
    target: RepositoryTarget,
    folder: Path,
    *,
    stopping: threading.Event,
    previous: Backup | None = None,
    recipients: Sequence[str] = (),
    is_full: bool = False,
    is_here: bool = False,
) -> RepositoryReader:
    """Return what reads a target of repositories.

    Parameters
    ----------
    folder
        A new directory for clones.
    previous
        The backup whose bundles the new ones add to, if it is encrypted to the same `recipients`.
    is_here
        Whether this runs on a person's or a pipeline's machine.

    Raises
    ------
    SecretError
        A secret cannot be read, or is not as it should be.
    """
    wire = Wire(is_here, stopping)
    opened: dict[str | None, Credentials] = {None: Credentials()}

    def credentials(secret: str | None) -> Credentials:
        if secret not in opened and secret is not None:
            opened[secret] = parse_credentials(services.secret(secret), where=secret)
        return opened[secret]

    def find() -> list[Wanted]:
        found = [Wanted(one.address, credentials(one.secret)) for one in target.repositories]
        for organisation in target.organisations:
            opener = credentials(organisation.secret)
            own = [Wanted(one, opener) for one in repositories_of(organisation, opener, wire, reader.miss)]
            if not own:
                reader.miss(f"No repository of {organisation.name} at {organisation.server} fits the configuration.")
            found += own
        return found

    past = _Past(services, previous, frozenset(recipients))
    reader = RepositoryReader(
        wire,
        find,
        folder,
        utc_now,
        previous=past.entries,
        usable=past.usable,
        is_full=is_full,
        with_lfs=target.lfs,
        with_forge_refs=target.pull_requests,
    )
    return reader


class _Past:
    """The backup before: nothing of it, if it cannot be read, or is encrypted to others."""

    def __init__(self, services: Services, previous: Backup | None, recipients: frozenset[str]) -> None:
        self._vault = services.vault
        self._manifest: Manifest | None = None
        self.usable: frozenset[str] = frozenset()
        if previous is None or previous.manifest_key is None or previous.manifest_sha256 is None:
            return
        try:
            manifest = manifest_of(services.vault, previous)
            if frozenset(manifest.recipients) == recipients:
                self.usable = frozenset(usable_packs(services.vault, manifest)[0])
                self._manifest = manifest
        except (IntegrityError, StoreError):
            return  # the plan reads it too, and notes why everything is stored again

    def entries(self, start: str) -> Iterator[Entry]:
        """Yield the entries whose names begin with a text; none from where they cannot be read."""
        if self._manifest is None:
            return
        try:
            found = (entry for entry in self._vault.entries(self._manifest, start) if entry.name >= start)
            yield from takewhile(lambda entry: entry.name.startswith(start), found)
        except (IntegrityError, StoreError):
            return
