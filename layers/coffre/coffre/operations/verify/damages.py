"""Kinds of damage, as both verifications report them: with a catalog, and of a vault alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from coffre.model.errors import ObjectMissingError
from coffre.model.manifest import Frame
from coffre.model.verification import Damage
from coffre.vault.vault import Vault

type Place = tuple[str, int]
"""A pack, and the offset of a frame in it."""


def place_of(frame: Frame) -> Place:
    """Return where a frame is."""
    return frame.pack, frame.offset


def pack_missing(key: str) -> Damage:
    """Return the damage of a pack that does not exist."""
    return Damage(code="PACK_MISSING", text=f"The pack {key} is not in the vault.", pack=key)


def pack_truncated(key: str, length: int, stored: int) -> Damage:
    """Return the damage of a pack that has `length` bytes, while `stored` were written."""
    return Damage(code="PACK_TRUNCATED", text=f"The pack {key} has {length:,} bytes; {stored:,} were stored.", pack=key)


def pack_swapped(key: str) -> Damage:
    """Return the damage of a pack whose checksum is not the recorded one."""
    text = f"The pack {key} is not the one that was stored: its checksum differs."
    return Damage(code="PACK_SWAPPED", text=text, pack=key)


def read_pack(vault: Vault, key: str, length: int, sha256: str) -> Damage | None:
    """Return what is wrong with a pack, after a second reading has found it too: then it is in the stored bytes."""
    return _read_pack(vault, key, length, sha256) and _read_pack(vault, key, length, sha256)


def _read_pack(vault: Vault, key: str, length: int, sha256: str) -> Damage | None:
    try:
        body = vault.store.get(key)
    except ObjectMissingError:
        return pack_missing(key)
    if len(body) != length:
        return pack_truncated(key, len(body), length)
    return None if hashlib.sha256(body).hexdigest() == sha256 else pack_swapped(key)


def once(damages: Iterable[Damage]) -> list[Damage]:
    """Leave out repetitions of damage that many entries share."""
    seen = {(one.pack, one.offset, one.code, one.entry if one.pack is None else None): one for one in damages}
    return list(seen.values())
