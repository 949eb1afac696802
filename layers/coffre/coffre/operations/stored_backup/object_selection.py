"""Selects objects of a bucket backup without reading its whole list of entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from coffre.model.errors import EventError, IntegrityError
from coffre.model.manifest import EntriesFile, Entry, Manifest, StorageContent
from coffre.model.storage import ObjectChoice
from coffre.policy.sorted_merge import side_by_side
from coffre.vault.object_restores import read_names
from coffre.vault.vault import Vault

type OnDamage = Callable[[EntriesFile, Sequence[str], IntegrityError], None]
"""Gets a list of entries that is damaged, and those of the chosen names that it would have; none: all that it has."""


def chosen_entries(
    vault: Vault, manifest: Manifest, choice: ObjectChoice, after: str = "", on_damage: OnDamage | None = None
) -> Iterator[tuple[str, Entry | None]]:
    """Yield the chosen objects with their names, sorted by name; an object that the backup lacks is None.

    Only files of entries that can contain them are read.

    Parameters
    ----------
    after
        Leave out all names up to this one.
    on_damage
        Called for each list of entries that is damaged, which is passed over; without it the error is raised.

    Raises
    ------
    EventError
        `BUCKET_UNKNOWN`, `BUCKET_AMBIGUOUS`, `PREFIX_UNMATCHED`.
    """
    if not choice.is_listed:
        yield from ((entry.name, entry) for entry in _below(vault, manifest, choice, after, on_damage))
        return
    names = read_names(vault, choice.names) if choice.names else _own_names(manifest, choice)
    wanted = (name for name in names if name > after)
    yield from side_by_side_names(vault, manifest, wanted, on_damage)


def _below(
    vault: Vault, manifest: Manifest, choice: ObjectChoice, after: str, on_damage: OnDamage | None
) -> Iterator[Entry]:
    start = start_of(manifest.storage, choice)
    is_empty = True

    def lose(file: EntriesFile, error: IntegrityError) -> None:
        nonlocal is_empty
        if file.first <= start or file.first.startswith(start):
            is_empty = False
            if on_damage is None:
                raise error
            on_damage(file, (), error)

    for entry in vault.entries(manifest, max(start, after), on_damage=lose):
        if entry.name.startswith(start):
            is_empty = False
            if entry.name > after:
                yield entry
        elif entry.name > start:
            break
    if is_empty and choice.prefix and not after:
        raise EventError(
            f"The backup has no object below {start}.",
            code="PREFIX_UNMATCHED",
            hint=f"See what it contains: coffre ls {manifest.backup_id}",
        )


def start_of(content: StorageContent, choice: ObjectChoice) -> str:
    """Return the common start of the names of all chosen objects; empty for all objects.

    Raises
    ------
    EventError
        `BUCKET_UNKNOWN`; `BUCKET_AMBIGUOUS`: the backup has several, and none is named.
    """
    if choice.bucket is None and not (choice.prefix or choice.keys):
        return ""
    return f"{_bucket(content, choice.bucket)}/{choice.prefix}"


def _bucket(content: StorageContent, wanted: str | None) -> str:
    names = [bucket.name for bucket in content.buckets]
    if wanted in names:
        return wanted or ""
    if wanted is None and len(names) == 1:
        return names[0]
    raise EventError(
        f'The backup has no bucket "{wanted}".' if wanted else "The backup has several buckets, and none was named.",
        code="BUCKET_UNKNOWN" if wanted else "BUCKET_AMBIGUOUS",
        detail=f"It has: {', '.join(names)}",
        hint="Name one of them.",
    )


def _own_names(manifest: Manifest, choice: ObjectChoice) -> list[str]:
    start = start_of(manifest.storage, choice)
    return sorted({start + key for key in choice.keys})


def side_by_side_names(
    vault: Vault, manifest: Manifest, names: Iterable[str], on_damage: OnDamage | None = None
) -> Iterator[tuple[str, Entry | None]]:
    """Yield each of the sorted names with its entry. Files of entries without any of them are not read."""
    wanted = iter(names)
    name = next(wanted, None)
    ends = [file.first for file in manifest.entries[1:]]
    for file, end in zip(manifest.entries, [*ends, None], strict=True):
        here: list[str] = []
        while name is not None and (end is None or name < end):
            here.append(name)
            name = next(wanted, None)
        if here:
            entries = vault.entries(manifest.model_copy(update={"entries": (file,)}))
            try:
                for found, entry in side_by_side(here, entries, str, _name_of):
                    if found is not None:
                        yield found, entry
            except IntegrityError as error:  # before the first
                if on_damage is None:
                    raise
                on_damage(file, here, error)


def _name_of(entry: Entry) -> str:
    return entry.name
