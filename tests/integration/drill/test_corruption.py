"""Seeded: rows that an insider takes out and hides are found by the drill, wherever they were and whatever he forgot.

Two by default; all forty of docs/verification.md, about a minute: `pytest tests/integration/drill/test_corruption.py
--lost-rows 40`. The other hundred and sixty places are in tests/unit/operations/verify/test_verify_corruption.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.integration.conftest import Coffre, run_sql
from tests.integration.drills import Insider, share_server

from coffre.model.backup import Status
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.scratch.server import ScratchServer, scratch_server

# What somebody who hides a lost row has to adapt besides the hashes, and forgets one of: with all of them and nothing
# that points at the row, only a check of the owner's can know (docs/drills.md).
NUMBERS = ("entry", "table", "manifest", "catalog")
TABLES = ("public.customers", "public.orders", "public.visits")


@pytest.fixture
def server(postgresql_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchServer]:
    with scratch_server(PostgresTools(postgresql_home)) as running:
        share_server(monkeypatch, running)
        yield running


def test_every_lost_row_is_found(
    coffre: Coffre, shop: str, server: ScratchServer, tmp_path: Path, lost_rows: int
) -> None:
    run_sql(shop, "CREATE TABLE visits AS SELECT n, md5(n::text) FROM generate_series(1, 30000) n")
    coffre.configure(shop)
    good = coffre.catalog.get_backup(coffre.backup()["id"])
    before = coffre.objects(f"v1/backups/shop/{good.id}/")
    missed = []
    for seed in range(lost_rows):
        chance = random.Random(seed)
        table, forgotten = chance.choice(TABLES), chance.choice(NUMBERS)
        adapts = frozenset({*NUMBERS, "sha256"} - {forgotten})
        Insider(coffre, good, tmp_path, adapts).change(table, partial(without_any, chance=chance))

        # Every hash is right
        assert coffre.verify("inventory")["damaged"] == []
        assert coffre.verify("read", backup_id=good.id)["damaged"] == []
        if coffre.drill(backup_id=good.id)["outcome"] != "failed":
            missed.append(f"seed {seed}: a row of {table}, {forgotten} not adapted")

        # As it was
        for key, body in before.items():
            coffre.put_object(key, body)
        fields = {name: getattr(good, name) for name in ("manifest_sha256", "rows", "plaintext_bytes")}
        marks = dict.fromkeys(("damaged_at", "damage", "verified_at"))
        coffre.catalog._backups.change(good.id, {**fields, **marks}, allowed=(Status.COMPLETED,))
    assert missed == []
    # And it was good
    assert coffre.drill(backup_id=good.id)["outcome"] == "passed"


def without_any(rows: bytes, chance: random.Random) -> bytes:
    lines = rows.splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    return b"".join(lines)
