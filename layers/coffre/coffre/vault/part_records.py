"""What a part of a run has stored: a record in the vault for each finished part, until the backup is sealed.

A run whose parts are worked on by several functions is sealed from these records. What a run that ended before its
seal has stored is found by them. The first record of a part counts: of two attempts, the other one's packs are orphans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from backports import zstd
from pydantic import Field, ValidationError

from coffre.model.document import FrozenModel
from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError
from coffre.model.manifest import PackReference
from coffre.stores.body import sha256_of
from coffre.vault.layout import part_key, part_number, parts_prefix
from coffre.vault.vault import Vault

# Records of ranges of names have smaller numbers: their second line is what the seal needs (`RangeRecord`). From this
# number on, a run of buckets records what it has stored entry by entry, as the parts of databases are recorded.
HISTORY_FROM: Final = 1_000_000_000
_LEVEL: Final = 3
_LIMIT_BYTES: Final = 64 * 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class StoredPart:
    """The result of a part: `entries` is a file of JSON lines, sorted by name; `counts` are rows and bytes by table."""

    number: int
    entries: Path
    packs: tuple[PackReference, ...]
    size_bytes: int = 0
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _Head(FrozenModel):
    """The first line of a record."""

    backup_id: str
    number: int = Field(ge=0)
    recipients: tuple[str, ...]
    packs: tuple[PackReference, ...]
    size_bytes: int = Field(ge=0)
    counts: dict[int, tuple[int, int]]
    notes: tuple[str, ...]


def write_part(vault: Vault, target: str, backup_id: str, part: StoredPart, recipients: tuple[str, ...]) -> str | None:
    """Record a part whose packs are stored.

    Returns
    -------
    str
        The record's SHA-256. None: another attempt has recorded the part before, and that one counts.

    Raises
    ------
    StoreError, StoreTransientError
        What `Store.put` raises.
    """
    head = _Head(
        backup_id=backup_id,
        number=part.number,
        recipients=recipients,
        packs=part.packs,
        size_bytes=part.size_bytes,
        counts=part.counts,
        notes=part.notes,
    )
    return _put(vault, target, head, zstd.compress(_line(head) + part.entries.read_bytes(), _LEVEL))


def write_packed(
    vault: Vault,
    target: str,
    backup_id: str,
    number: int,
    packs: tuple[PackReference, ...],
    entries: bytes,
    recipients: tuple[str, ...],
) -> str | None:
    """Record what a run has stored: `entries` are lines sorted by name, packed (`pack_lines`).

    Returns and raises what `write_part` does.
    """
    head = _Head(
        backup_id=backup_id, number=number, recipients=recipients, packs=packs, size_bytes=0, counts={}, notes=()
    )
    return _put(vault, target, head, zstd.compress(_line(head), _LEVEL) + entries)


def _line(head: _Head) -> bytes:
    return head.model_dump_json().encode() + b"\n"


def _put(vault: Vault, target: str, head: _Head, body: bytes) -> str | None:
    sha256 = sha256_of(body)
    try:
        vault.store.put(part_key(target, head.backup_id, head.number), body, sha256=sha256, if_absent=True)
    except StoreError as error:
        if error.code != "OBJECT_EXISTS":
            raise
        return None
    return sha256


def recorded_parts(vault: Vault, target: str, backup_id: str) -> Iterator[int]:
    """Yield the numbers of the recorded parts, in order; raises what `Store.list` raises."""
    for info in vault.store.list(parts_prefix(target, backup_id)):
        number = part_number(info.key)
        if number is not None:
            yield number


def read_part(
    vault: Vault, target: str, backup_id: str, number: int, scratch: Path, *, sha256: str | None = None
) -> tuple[StoredPart, tuple[str, ...]]:
    """Return a recorded part, its entries in a file in `scratch`, and the recipients who can open it.

    Parameters
    ----------
    sha256
        Of the record, as the catalog has it; None: it is not compared.

    Raises
    ------
    IntegrityError
        `PART_MISSING`, `PART_DAMAGED`, `PART_SWAPPED` (other bytes than `sha256` names).
    """
    head, entries = _read(vault, target, backup_id, number, sha256, unpacked=_unpacked)
    file = scratch / f"part-{backup_id}-{number:06d}.jsonl"
    file.write_bytes(entries)
    return StoredPart(number, file, head.packs, head.size_bytes, head.counts, head.notes), head.recipients


def recorded_packs(vault: Vault, target: str, backup_id: str, number: int) -> tuple[PackReference, ...]:
    """Return the packs that a recorded part names; raises what `read_part` raises. Its entries are not unpacked."""
    return _read(vault, target, backup_id, number, None, unpacked=_first_line)[0].packs


def _read(
    vault: Vault,
    target: str,
    backup_id: str,
    number: int,
    sha256: str | None,
    *,
    unpacked: Callable[[bytes], bytes],
) -> tuple[_Head, bytes]:
    key = part_key(target, backup_id, number)
    try:
        body = vault.store.get(key, limit_bytes=_LIMIT_BYTES)
        if sha256 is not None and sha256_of(body) != sha256:
            raise _lost("PART_SWAPPED", f"{key} is not the one that the catalog recorded")
        line, _, entries = unpacked(body).partition(b"\n")
        head = _Head.model_validate_json(line)
    except ObjectMissingError as error:
        raise _lost("PART_MISSING", f"{key} is not in the vault") from error
    except (ValidationError, ValueError, zstd.ZstdError) as error:
        raise _lost("PART_DAMAGED", f"{key} cannot be read") from error
    if (head.backup_id, head.number) != (backup_id, number):
        raise _lost("PART_DAMAGED", f"{key} is the record of another part")
    return head, entries


def _first_line(body: bytes) -> bytes:
    frame, text = zstd.ZstdDecompressor(), bytearray()
    rest = body
    while not frame.eof and b"\n" not in text and len(text) < _LIMIT_BYTES:
        more, rest = frame.decompress(rest, _BLOCK_BYTES), b""
        if not more:
            break
        text += more
    return bytes(text)


def _unpacked(body: bytes) -> bytes:
    text, rest = bytearray(), body
    while rest:  # not `zstd.open`, which takes a damaged second frame for the end
        frame = zstd.ZstdDecompressor()
        text += frame.decompress(rest, _LIMIT_BYTES + 1 - len(text))
        if not frame.eof:
            raise ValueError("it ends too early, or is too large")
        rest = frame.unused_data
    return bytes(text)


def _lost(code: str, what: str) -> IntegrityError:
    return IntegrityError(
        f"The record of a part of the backup is lost: {what}.",
        code=code,
        hint="Nothing was published. Take the backup again.",
    )
