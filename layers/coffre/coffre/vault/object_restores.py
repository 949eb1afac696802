"""What restores of objects keep in the vault: lists of names that no event could hold, and how far they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from backports import zstd
from pydantic import BaseModel, ValidationError

from coffre.model.document import parse_json
from coffre.model.errors import EventError, IntegrityError, ObjectMissingError
from coffre.model.restore_state import DatabaseState
from coffre.model.storage import StorageState
from coffre.stores.store import put_small
from coffre.vault.entry_lines import lines_of
from coffre.vault.layout import restore_list_key, restore_state_key
from coffre.vault.vault import Vault

_LEVEL: Final = 3
_STATE_LIMIT_BYTES: Final = 4 * 1024 * 1024


def write_names(vault: Vault, restore_id: str, names: Iterable[str], scratch: Path) -> str:
    """Store a list of names, which have to be sorted, and return its key."""
    lines = (json.dumps({"name": name}).encode() + b"\n" for name in names)
    return _write(vault, restore_list_key(restore_id, "names", 1), lines, scratch)


def write_failed(vault: Vault, restore_id: str, invocation: int, failed: Path, scratch: Path) -> str:
    """Store the failures that a file has as JSON lines (`name`, `code`, `message`), and return the list's key."""
    with failed.open("rb") as lines:
        return _write(vault, restore_list_key(restore_id, "failed", invocation), lines, scratch)


def read_names(vault: Vault, keys: Iterable[str]) -> Iterator[str]:
    """Yield the names of lists, one list after another, in constant memory.

    Raises
    ------
    EventError
        `NAMES_INVALID`: a list does not exist, is not one of names, or is not sorted.
    """
    last = ""
    for key in keys:
        for name in _names(vault, key):
            if name < last:
                raise _invalid(key, f"{name[:200]!a} follows {last[:200]!a}")
            if name != last:
                yield name
            last = name


def write_state(vault: Vault, state: StorageState) -> None:
    """Store how far a restore is."""
    put_small(vault.store, restore_state_key(state.restore_id), state.model_dump_json().encode())


def read_state(vault: Vault, restore_id: str) -> StorageState:
    """Return how far a restore was when an invocation of it ended.

    Raises
    ------
    IntegrityError
        `RESTORE_STATE_DAMAGED`
    """
    hint = "Start the restore again: objects that exist already are not written a second time."
    return _state(vault, restore_id, StorageState, f"How far the restore {restore_id} was", hint)


def write_database_state(vault: Vault, restore_id: str, state: DatabaseState) -> None:
    """Store what a restore of a database was confirmed to change."""
    put_small(vault.store, restore_state_key(restore_id), state.model_dump_json().encode())


def read_database_state(vault: Vault, restore_id: str) -> DatabaseState:
    """Return what a restore of a database was confirmed to change.

    Raises
    ------
    IntegrityError
        `RESTORE_STATE_DAMAGED`
    """
    hint = "Nothing in use was changed. Start the restore again."
    return _state(vault, restore_id, DatabaseState, f"What the restore {restore_id} was confirmed to change", hint)


def _state[S: BaseModel](vault: Vault, restore_id: str, kind: type[S], what: str, hint: str) -> S:
    key = restore_state_key(restore_id)
    try:
        return kind.model_validate_json(vault.store.get(key, limit_bytes=_STATE_LIMIT_BYTES))
    except (ObjectMissingError, ValidationError) as error:
        raise IntegrityError(f"{what} cannot be read from {key}.", code="RESTORE_STATE_DAMAGED", hint=hint) from error


def _write(vault: Vault, key: str, lines: Iterable[bytes], scratch: Path) -> str:
    path = scratch / "list.jsonl.zst"
    with zstd.open(path, "wb", level=_LEVEL) as file:
        file.writelines(lines)
    body = path.read_bytes()
    path.unlink()
    put_small(vault.store, key, body)
    return key


def _names(vault: Vault, key: str) -> Iterator[str]:
    try:
        for line in lines_of(vault.store.get(key)):
            yield str(parse_json(line)["name"])
    except ObjectMissingError as error:
        raise _invalid(key, "it is not in the vault") from error
    except (ValueError, KeyError, TypeError, EOFError, zstd.ZstdError) as error:
        raise _invalid(key, "a line is not JSON with a name") from error


def _invalid(key: str, why: str) -> EventError:
    return EventError(
        f"The list of names {key} cannot be used.",
        code="NAMES_INVALID",
        detail=why,
        hint="`coffre restore objects` writes such lists: start it with --key or --keys-from, or --retry.",
    )
