"""Where each object of a backup goes, and what exists there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from coffre.buckets.object_facts import Listed
from coffre.buckets.writer import BucketWriter
from coffre.model.manifest import BucketSummary, Entry, Manifest
from coffre.model.storage import ObjectChoice, StorageScope
from coffre.operations.stored_backup.object_selection import OnDamage, chosen_entries, start_of
from coffre.policy.object_keys import key_choice
from coffre.policy.sorted_merge import side_by_side
from coffre.vault.vault import Vault

# The first name that no object of a bucket `b` can have is `b` + this: the slash's successor.
_BEHIND_SLASH: Final = "0"


@dataclass(frozen=True)
class Step:
    """One object to decide about.

    `there` is what has its place now, if that is `known`. An object that the backup does not have has no `entry`.
    """

    name: str
    bucket: str
    key: str
    entry: Entry | None
    there: Listed | None = None
    known: bool = True

    @property
    def place(self) -> str:
        """Where the object is or goes at the destination: `<bucket>/<key>`."""
        return f"{self.bucket}/{self.key}"


class DestinationMap:
    """Maps names of the backup to buckets and keys, and goes through both sides in order.

    Parameters
    ----------
    open_bucket
        Returns the bucket of this name at the destination.
    on_damage
        Gets the lists of entries that are damaged, and are passed over.
    """

    def __init__(
        self,
        manifest: Manifest,
        scope: StorageScope,
        open_bucket: Callable[[str], BucketWriter],
        on_damage: OnDamage | None = None,
    ) -> None:
        self._on_damage = on_damage
        self._manifest = manifest
        self._scope = scope
        self._open = open_bucket
        self._buckets: dict[str, BucketWriter] = {}
        summaries = sorted(manifest.storage.buckets, key=lambda bucket: f"{bucket.name}/")
        chosen, _, _ = start_of(manifest.storage, scope).partition("/")
        self.sources = [bucket for bucket in summaries if chosen in ("", bucket.name)]
        self._is_one = len(self.sources) == 1

    def bucket(self, name: str) -> BucketWriter:
        """Return a bucket of the destination."""
        if name not in self._buckets:
            self._buckets[name] = self._open(name)
        return self._buckets[name]

    @property
    def destinations(self) -> list[str]:
        """The names of the buckets that objects may go to."""
        return sorted({self.place(source.name, "")[0] for source in self.sources})

    @property
    def lacking(self) -> list[str]:
        """What objects had to go without at their places."""
        return [note for name in sorted(self._buckets) for note in self._buckets[name].notes]

    @property
    def key_notes(self) -> list[str]:
        """Which keys of KMS objects had at the source and have not at their places."""
        return [note for name in sorted(self._buckets) for note in self._buckets[name].key_notes]

    def place(self, bucket: str, key: str) -> tuple[str, str]:
        """Return the bucket and the key where an object goes."""
        if self._scope.to is None:
            return bucket, key
        to, _, folder = self._scope.to.partition("/")
        folder = f"{folder.removesuffix('/')}/" if folder.removesuffix("/") else ""
        return to, f"{folder}{key}" if self._is_one else f"{folder}{bucket}/{key}"

    def steps(self, vault: Vault, after: str) -> Iterator[Step]:
        """Yield the chosen objects of the backup after a name, in order, with what is at their places."""
        if not self._scope.is_listed:
            yield from (step for step in self._compared(vault, after) if step.entry is not None)
            return
        for name, entry in chosen_entries(vault, self._manifest, self._scope, after, self._on_damage):
            source, _, key = name.partition("/")
            yield Step(name, *self.place(source, key), entry, known=False)

    def extras(self, vault: Vault, after: str) -> Iterator[Step]:
        """Yield what is at the places and not in the backup, though the backup would have it."""
        takes = {source.name: key_choice(source.prefixes, source.include, source.exclude) for source in self.sources}
        for step in self._compared(vault, after):
            source, _, key = step.name.partition("/")
            if step.entry is None and takes[source](key):
                yield step

    def _compared(self, vault: Vault, after: str) -> Iterator[Step]:
        for source in self.sources:
            if f"{source.name}{_BEHIND_SLASH}" > after:
                yield from self._compared_bucket(vault, source, after)

    def _compared_bucket(self, vault: Vault, source: BucketSummary, after: str) -> Iterator[Step]:
        to, start = self.place(source.name, self._scope.prefix)
        base = start.removesuffix(self._scope.prefix)
        choice = ObjectChoice(bucket=source.name, prefix=self._scope.prefix)

        def name_of(there: Listed) -> str:
            return f"{source.name}/{there.key.removeprefix(base)}"

        listing = (there for there in self.bucket(to).listing(start) if name_of(there) > after)
        chosen = chosen_entries(vault, self._manifest, choice, after, self._on_damage)
        entries = (entry for _, entry in chosen if entry is not None)
        for entry, there in side_by_side(entries, listing, lambda entry: entry.name, name_of):
            if entry is not None:
                _, key = self.place(source.name, entry.name.partition("/")[2])
                yield Step(entry.name, to, key, entry, there)
            elif there is not None:
                yield Step(name_of(there), to, there.key, None, there)
