"""Which settings of a backup are meant, and their values."""

from __future__ import annotations

from collections.abc import Sequence

from coffre.model.errors import EventError
from coffre.model.manifest import Entry, Manifest
from coffre.model.setting import Setting
from coffre.policy.object_keys import key_choice
from coffre.vault.sealed_settings import SettingsOpener
from coffre.vault.vault import Vault


def choose_settings(vault: Vault, manifest: Manifest, patterns: Sequence[str]) -> tuple[Entry, ...]:
    """Return the entries that are meant, sorted by name: all without patterns.

    A pattern fits a whole name (`secrets/app/*`), or the name without its folder (`app/*`).

    Raises
    ------
    EventError
        `NAME_UNKNOWN`: a pattern fits nothing; the detail has the names that exist.
    """
    entries = tuple(vault.entries(manifest))
    for pattern in patterns:
        if not any(_fits(entry.name, (pattern,)) for entry in entries):
            raise EventError(
                f"The backup has no setting {pattern}.",
                code="NAME_UNKNOWN",
                detail=f"It has: {', '.join(entry.name for entry in entries) or 'none'}",
                hint=f"List them: coffre ls {manifest.backup_id} --recursive",
            )
    return tuple(entry for entry in entries if not patterns or _fits(entry.name, patterns))


def read_setting(opener: SettingsOpener, entry: Entry) -> Setting:
    """Return the value of a setting.

    Raises
    ------
    EventError
        `NAME_UNREAD`: it could not be read when the backup was taken.
    CoffreError
        It is damaged, or no key opens it.
    """
    if entry.object is not None and entry.object.unread is not None:
        raise EventError(
            f"{entry.name} is not in the backup: it could not be read.",
            code="NAME_UNREAD",
            detail=entry.object.unread,
            hint="Choose an older backup: coffre list",
        )
    return opener.open(entry)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    takes = key_choice((), patterns, ())
    return takes(name) or takes(name.partition("/")[2])
