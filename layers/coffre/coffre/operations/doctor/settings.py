"""Whether the settings of a target can be read, as a backup reads them. Values are forgotten immediately."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from coffre.buckets.object_facts import Listed
from coffre.buckets.source import ObjectSource
from coffre.model.bucket_target import BucketSource
from coffre.model.errors import CoffreError
from coffre.model.settings_target import SettingsTarget
from coffre.operations.doctor.vault_access import attempt, trouble
from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.settings_facts import SettingsFacts, SettingsFolder
from coffre.policy.object_keys import key_choice


def read_settings(target: SettingsTarget, source: ObjectSource) -> SettingsFacts:
    """List each folder of a target and read every setting in it. Nothing is written."""
    return SettingsFacts(tuple(_look(source, folder) for folder in target.buckets))


def _look(source: ObjectSource, folder: BucketSource) -> SettingsFolder:
    try:
        listed = source.page(folder.name, "").objects
    except CoffreError as error:
        return SettingsFolder(folder.name, listed=trouble(error))
    names = [found.key for found in listed]
    takes = key_choice((), folder.include, folder.exclude)
    chosen = [found for found in listed if takes(found.key)]
    unmatched = tuple(one for one in folder.include if not any(map(key_choice((), (one,), ()), names)))
    return SettingsFolder(folder.name, unread=tuple(_unread(source, folder.name, chosen)), unmatched=unmatched)


def _unread(source: ObjectSource, folder: str, chosen: Sequence[Listed]) -> Iterator[tuple[str, Trouble]]:
    for found in chosen:
        seen = attempt(partial(source.piece, folder, found, 0))
        if seen is not None and seen.code != "OBJECT_MISSING":  # since it was listed
            yield found.key, seen
