"""The plan of a spread backup in the vault: read as it was written, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coffre.model.backup import Backup, Status, Tier
from coffre.model.errors import IntegrityError, StoreError
from coffre.model.manifest import JournalBase, RelationName, SequenceValue
from coffre.model.points import PartOf
from coffre.operations.backup_database.job import BackupPlan
from coffre.operations.backup_database.spread.plan_files import (
    SpreadHeader,
    StoredPlan,
    read_group,
    read_header,
    read_tables,
    write_plan,
)
from coffre.policy.slicing import Part, TableExtent, plan_parts
from coffre.postgres.connection.server_facts import ServerFacts
from coffre.postgres.source.snapshot_identity import Identity
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import put_small
from coffre.vault.history import NO_HISTORY
from coffre.vault.layout import plan_key
from coffre.vault.vault import Vault

ID = "01K9X000000000000000000000"
NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
TABLES = (
    TableExtent(16400, "public", 'or"ders\n', ("id", "näme"), 1000, 20_000_000),
    TableExtent(16401, "public", "empty", (), 0, 0),
    TableExtent(16402, "ext", "config", ("a",), 3, 30_000, "WHERE a > 0", True, False, (16401,), True),
)
PLAN = BackupPlan(
    backup=Backup(id=ID, target="shop", tiers=(Tier.DAILY,), status=Status.IN_PROGRESS, created_at=NOW),
    snapshot="00000003-0000001B-1",
    facts=ServerFacts(
        "18.6",
        180006,
        "shop",
        "UTF8",
        "C",
        "libc",
        None,
        ("vector",),
        ("ada",),
        {7: ("ada",)},
        ((None, "public"),),
        True,
    ),
    client_version="18.6",
    tables=TABLES,
    tables_without_rows=(TableExtent(16403, "public", "log", (), 0, 0),),
    roots={16400: RelationName(schema_name="public", relation_name="all")},
    sequences=(SequenceValue(schema_name="public", sequence_name="s", last_value=2**63 - 1, is_called=True),),
    materialized_views=(),
    schema_archive=Path("/scratch/schema.dump"),
    roles=b"CREATE ROLE ada",
    parts=tuple(plan_parts(TABLES, by_block=True, streams=4, first_number=2)),
    history=NO_HISTORY,
    part_of=PartOf(name="all", id=ID),
    exceptions=("one",),
    notes=("two",),
    journal=JournalBase(snapshot="10:12:11", before_lsn=2**63, lsn=2**63 + 1, at=NOW, fingerprint="0" * 64),
)
HEADER = SpreadHeader(
    backup_id=ID,
    target="shop",
    taken_at=NOW,
    identity=Identity("7", "shop", "10:12:11"),
    facts=PLAN.facts,
    total_bytes=20_030_000,
    total_tables=3,
    previous=None,
    streams=4,
    width=2,
    parts=(0, PLAN.parts[-1].number),
    groups=(),
    tables_sha256="",
    why="limits.spread is always",
)
GROUPS: list[list[Part]] = [[part] for part in PLAN.parts]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(DirectoryStore(tmp_path))


def written(vault: Vault) -> StoredPlan:
    return write_plan(vault, HEADER, PLAN, GROUPS)


def read_all(vault: Vault, stored: StoredPlan) -> None:
    header = read_header(vault, "shop", ID, stored.sha256)
    read_group(vault, header, 0)
    read_tables(vault, header)


def test_a_plan_is_read_as_it_was_written(vault: Vault) -> None:
    stored = written(vault)

    header = read_header(vault, "shop", ID, stored.sha256)
    assert [read_group(vault, header, number) for number in range(len(header.groups))] == GROUPS
    assert header.model_copy(update={"groups": (), "tables_sha256": ""}) == HEADER
    tables = read_tables(vault, header)
    assert (tables.tables, tables.facts, tables.roots, tables.sequences) == (
        PLAN.tables,
        PLAN.facts,
        PLAN.roots,
        PLAN.sequences,
    )
    assert (tables.part_of, tables.exceptions, tables.notes, tables.parts) == (PLAN.part_of, ("one",), ("two",), ())


def test_what_a_schema_archive_and_roles_say_is_in_no_file_of_the_plan(vault: Vault) -> None:
    written(vault)

    header = read_header(vault, "shop", ID, written(vault).sha256)
    assert (read_tables(vault, header).roles, read_tables(vault, header).schema_archive) == (None, Path())


def test_the_list_of_groups_has_a_line_for_each(vault: Vault) -> None:
    lines = vault.store.get(written(vault).key).splitlines()

    assert [json.loads(line) for line in lines] == [{"group": number} for number in range(len(GROUPS))]


@pytest.mark.parametrize("name", ["plan.json", "parts.jsonl.zst", "tables.json.zst"])
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_plan_that_is_missing_or_was_changed_is_refused(vault: Vault, name: str, damage: str) -> None:
    stored = written(vault)
    key = plan_key("shop", ID, name)
    body = vault.store.get(key)
    vault.store.delete(key)
    if damage == "changed":
        put_small(vault.store, key, bytes([body[0] ^ 1]) + body[1:])

    with pytest.raises(IntegrityError) as caught:
        read_all(vault, stored)

    assert caught.value.code == f"PLAN_{damage.upper()}"
    assert key in caught.value.message


def test_a_plan_of_another_run_is_refused(vault: Vault) -> None:
    stored = written(vault)
    other = ID[:-1] + "1"
    body = vault.store.get(plan_key("shop", ID, "plan.json"))
    vault.store.put(plan_key("shop", other, "plan.json"), body, sha256=stored.sha256)

    with pytest.raises(IntegrityError) as caught:
        read_header(vault, "shop", other, stored.sha256)

    assert caught.value.code == "PLAN_CHANGED"


def test_the_plan_of_a_run_is_written_once(vault: Vault) -> None:
    written(vault)

    with pytest.raises(StoreError) as caught:
        write_plan(vault, HEADER.model_copy(update={"width": 3}), PLAN, GROUPS)

    assert caught.value.code == "OBJECT_EXISTS"
