"""What changed in a setting, by names alone: values are decrypted, compared and forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coffre.model.manifest import Entry
from coffre.model.setting import Setting
from coffre.model.settings_target import FILES
from coffre.policy.dotenv import variables_of
from coffre.vault.sealed_settings import SettingsOpener


def what_changed(opener: SettingsOpener, before: Entry, after: Entry) -> tuple[str, ...]:
    """Return what differs: of a file of variables their names (`+NEW`, `~CHANGED`, `-GONE`), else `value`.

    `description`, `kms_key`, `tags` and `type` are named when they differ. One that could not be read in one of the
    backups has another value.
    """
    if any(entry.object is not None and entry.object.unread is not None for entry in (before, after)):
        return ("value",)
    one, other = (opener.open(entry) for entry in (before, after))
    about = (name for name in ("type", "description", "kms_key", "tags") if _differs(one, other, name))
    if one.value == other.value:
        return tuple(about)
    names: tuple[str, ...] = ()
    if before.name.startswith(f"{FILES}/"):
        names = tuple(_variables(variables_of(one.value), variables_of(other.value)))
    return (*(names or ("value",)), *about)


def _differs(one: Setting, other: Setting, name: str) -> bool:
    return bool(getattr(one.facts, name) != getattr(other.facts, name))


def _variables(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        if name not in before:
            yield f"+{name}"
        elif name not in after:
            yield f"-{name}"
        elif before[name] != after[name]:
            yield f"~{name}"
