"""Anchors of the audit chains: the heads at one time, where the writers of the chains cannot change them.

They are written once and never deleted by Coffre: neither rotation nor any other job knows a way to.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError
from ulid import ULID

from coffre.model.audit import Anchor
from coffre.model.document import describe_validation
from coffre.model.errors import IntegrityError
from coffre.stores.body import sha256_of
from coffre.stores.store import Store
from coffre.vault.layout import ANCHORS, anchor_key, is_anchor
from coffre.vault.vault import Vault

_LIMIT_BYTES: Final = 16 * 1024 * 1024
# ULIDs that begin with the same four characters are of the same 12 days: 26 characters, the first ten are the time.
_SAME: Final = 4
_SPAN: Final = timedelta(milliseconds=32 ** (10 - _SAME))


def write_anchor(vault: Vault, anchor: Anchor) -> str:
    """Store an anchor under the longest lock that the stack allows, if the vault has locks, and return its key."""
    body = anchor.model_dump_json(indent=1).encode()
    key = anchor_key(anchor.id)
    store = vault.store if vault.locks is None else vault.locks.longest(anchor.at)
    store.put(key, body, sha256=sha256_of(body), if_absent=True)
    return key


def newest_anchor(store: Store, now: datetime) -> Anchor | None:
    """Return the newest anchor of the last 12 to 24 days, or None: listing all of them would take longer each week.

    Raises
    ------
    IntegrityError
        `ANCHOR_DAMAGED`
    """
    for time in (now, now - _SPAN):
        keys = sorted(_keys(store, f"{ANCHORS}{str(ULID.from_datetime(time))[:_SAME]}"))
        if keys:
            return _read(store, keys[-1])
    return None


def read_anchors(store: Store, since: datetime | None = None) -> Iterator[Anchor]:
    """Yield all anchors in the order of their ids, or those made since a time; raises what `newest_anchor` raises."""
    first = anchor_key(str(ULID.from_datetime(since))[:10]) if since is not None else ""
    for key in sorted(_keys(store, ANCHORS)):
        if key >= first:
            yield _read(store, key)


def parse_anchor(text: bytes | str, where: str) -> Anchor:
    """Return the anchor of a document.

    Raises
    ------
    IntegrityError
        `ANCHOR_DAMAGED`
    """
    try:
        return Anchor.model_validate_json(text)
    except ValidationError as error:
        raise IntegrityError(
            f"The anchor {where} cannot be read.",
            code="ANCHOR_DAMAGED",
            detail="; ".join(describe_validation(error)),
            hint="It was changed after it was written: look at the object's older versions. Check with another one: "
            "coffre audit --verify-chain --anchor FILE",
        ) from error


def _keys(store: Store, prefix: str) -> Iterator[str]:
    return (info.key for info in store.list(prefix) if is_anchor(info.key))


def _read(store: Store, key: str) -> Anchor:
    anchor = parse_anchor(store.get(key, limit_bytes=_LIMIT_BYTES), key)
    if anchor_key(anchor.id) != key:
        raise IntegrityError(
            f"The anchor {key} says that it is {anchor.id}.",
            code="ANCHOR_DAMAGED",
            hint="It was copied or renamed: look at who wrote it. coffre audit --verify-chain --anchor FILE checks "
            "with another one.",
        )
    return anchor
