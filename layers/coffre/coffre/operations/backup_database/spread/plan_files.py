"""The plan of a spread backup as files in the vault, written once.

- `plan.json`, the header: what every step needs. Its SHA-256 is in the input of the state machine, and it has the
  places and hashes of all the rest.
- `groups.jsonl`: one line `{"group": 0}` a group of parts, for the state machine's Map.
- `parts.jsonl.zst`: the parts of each group, one zstd frame of JSON lines a group: a worker reads its own range.
- `tables.json.zst`: what the seal needs, the plan without its parts.

Nothing in them is a secret: names of tables and columns, which the manifest has too. What a schema archive or roles say
is in the first parts, which the planner stores itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from backports import zstd
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from coffre.model.document import FrozenModel
from coffre.operations.backup_database.job import BackupPlan
from coffre.operations.runs.plan_file import plan_changed, read_plan_file
from coffre.policy.slicing import Part, Slice, TableExtent
from coffre.postgres.connection.server_facts import ServerFacts
from coffre.postgres.source.snapshot_identity import Identity
from coffre.stores.store import put_new
from coffre.vault.history import NO_HISTORY
from coffre.vault.layout import plan_key
from coffre.vault.vault import Vault

_FORMAT: Final = 1
_HEADER, _GROUPS, _PARTS, _TABLES = "plan.json", "groups.jsonl", "parts.jsonl.zst", "tables.json.zst"
_LEVEL: Final = 3
_HEADER_LIMIT_BYTES: Final = 16 * 1024 * 1024


class GroupPlace(FrozenModel):
    """Where the parts of a group are in `parts.jsonl.zst`, and what they are: numbers from `first` to `last`."""

    offset: int
    length: int
    sha256: str
    first: int
    last: int
    size_bytes: int


class SpreadHeader(FrozenModel):
    """What every step of a spread backup needs to know.

    `groups` are in the order of their numbers, from 0. `parts` are the numbers of the first and the last part of all,
    those that the planner stores included. `previous` is the id of the backup whose frames may be pointed at, and
    `unfinished` are those of the runs since then that did not finish. `streams` is the number of connections that each
    of `width` workers reads with. `taken_at` is when the snapshot was taken. `actor` asked for the backup. `why` says
    why it is spread.
    """

    format: int = _FORMAT
    backup_id: str
    target: str
    taken_at: AwareDatetime
    identity: Identity
    facts: ServerFacts
    total_bytes: int
    total_tables: int
    previous: str | None
    unfinished: tuple[str, ...] = ()
    streams: int
    width: int
    parts: tuple[int, int]
    groups: tuple[GroupPlace, ...]
    tables_sha256: str
    why: str
    actor: str = "unknown"
    actor_verified: bool = False
    request_id: str | None = None


@dataclass(frozen=True)
class StoredPlan:
    """Where a plan is: the key of its list of groups, and the SHA-256 of its header."""

    key: str
    sha256: str


_PLAN: Final = TypeAdapter(BackupPlan)


def write_plan(vault: Vault, header: SpreadHeader, plan: BackupPlan, groups: Sequence[Sequence[Part]]) -> StoredPlan:
    """Store a plan.

    Parameters
    ----------
    header
        Without `groups` and `tables_sha256`, which are filled in.

    Raises
    ------
    StoreError
        `OBJECT_EXISTS`: the run has another plan already.
    """
    target, backup_id = header.target, header.backup_id
    places: list[GroupPlace] = []
    body = bytearray()
    for group in groups:
        frame = zstd.compress(b"".join(_line(part) for part in group), _LEVEL)
        places.append(
            GroupPlace(
                offset=len(body),
                length=len(frame),
                sha256=hashlib.sha256(frame).hexdigest(),
                first=group[0].number,
                last=group[-1].number,
                size_bytes=sum(part.size_bytes for part in group),
            )
        )
        body += frame
    rest = replace(plan, parts=(), history=NO_HISTORY, schema_archive=Path(), roles=None)
    put_new(vault.store, plan_key(target, backup_id, _PARTS), bytes(body))
    tables = zstd.compress(_PLAN.dump_json(rest), _LEVEL)
    tables_sha256 = put_new(vault.store, plan_key(target, backup_id, _TABLES), tables)
    lines = "".join(f'{{"group": {number}}}\n' for number in range(len(groups)))
    key = plan_key(target, backup_id, _GROUPS)
    put_new(vault.store, key, lines.encode())
    whole = header.model_copy(update={"groups": tuple(places), "tables_sha256": tables_sha256})
    sha256 = put_new(vault.store, plan_key(target, backup_id, _HEADER), whole.model_dump_json().encode())
    return StoredPlan(key, sha256)


def read_header(vault: Vault, target: str, backup_id: str, sha256: str) -> SpreadHeader:
    """Return the header whose bytes have this SHA-256.

    Raises
    ------
    IntegrityError
        `PLAN_MISSING`, or `PLAN_CHANGED`: its bytes are not those that the run was started with.
    """
    key = plan_key(target, backup_id, _HEADER)
    body = read_plan_file(key, lambda: vault.store.get(key, limit_bytes=_HEADER_LIMIT_BYTES), sha256)
    try:
        header = SpreadHeader.model_validate_json(body)
    except ValidationError as error:
        raise plan_changed(key) from error
    if (header.target, header.backup_id, header.format) != (target, backup_id, _FORMAT):
        raise plan_changed(key)
    return header


def read_group(vault: Vault, header: SpreadHeader, number: int) -> list[Part]:
    """Return the parts of a group; raises what `read_header` raises."""
    key = plan_key(header.target, header.backup_id, _PARTS)
    place = header.groups[number]
    frame = read_plan_file(key, lambda: vault.store.get_range(key, place.offset, place.length), place.sha256)
    return [_part(json.loads(line)) for line in zstd.decompress(frame).splitlines()]


def read_tables(vault: Vault, header: SpreadHeader) -> BackupPlan:
    """Return the plan without its parts, its history, and its files; raises what `read_header` raises."""
    key = plan_key(header.target, header.backup_id, _TABLES)
    body = read_plan_file(key, lambda: vault.store.get(key), header.tables_sha256)
    return _PLAN.validate_json(zstd.decompress(body))


def _line(part: Part) -> bytes:
    """Return a part as a JSON line: each of its tables once, and its slices as lists of numbers."""
    tables = {piece.table.oid: piece.table for piece in part.slices}
    place = {oid: index for index, oid in enumerate(tables)}
    document = {
        "number": part.number,
        "size_bytes": part.size_bytes,
        "tables": [asdict(table) for table in tables.values()],
        "slices": [
            [place[piece.table.oid], piece.number, piece.first_block, piece.end_block, piece.size_bytes]
            for piece in part.slices
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _part(document: dict[str, Any]) -> Part:
    tables = [
        TableExtent(**{**table, "columns": tuple(table["columns"]), "after": tuple(table["after"])})
        for table in document["tables"]
    ]
    slices = tuple(Slice(tables[place], *numbers) for place, *numbers in document["slices"])
    return Part(document["number"], slices, document["size_bytes"])
