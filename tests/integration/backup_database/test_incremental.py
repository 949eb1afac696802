"""Unchanged bytes are stored once, and every backup can be restored on its own."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
import pytest
from tests.integration.conftest import Coffre, beside

from coffre.model.manifest import Manifest
from coffre.vault.codec import new_identity, public_key
from coffre_local.sample import fingerprint

Restorer = Callable[[str], dict[str, object]]


@pytest.fixture
def shop(empty_database: str) -> str:
    """One large table of many slices, and small ones that share frames."""
    _run(
        empty_database,
        "CREATE TABLE big AS SELECT g AS id, md5(g::text) AS word, repeat(md5((g / 2)::text), 4) AS text"
        " FROM generate_series(1, 120000) g",
        *(
            f"CREATE TABLE small_{n} AS SELECT g AS id, 'row ' || g AS text FROM generate_series(1, 50) g"
            for n in range(20)
        ),
        "VACUUM",
    )
    return empty_database


def test_a_second_backup_of_an_unchanged_database_stores_almost_nothing(coffre: Coffre, shop: str) -> None:
    # Given a first backup
    coffre.configure(shop)
    first = _manifest(coffre, coffre.backup()["id"])

    # When nothing changes, and a second one is taken
    second = _manifest(coffre, coffre.backup()["id"])

    # Then the second stores the schema archive and its own records, and points at the first's packs
    assert second.plaintext_bytes == pytest.approx(first.plaintext_bytes, rel=0.01)
    assert second.stored_bytes < 0.01 * first.stored_bytes
    assert {pack.key for pack in first.packs} & {pack.key for pack in second.packs}
    assert (second.rows, second.database.tables) == (first.rows, first.database.tables)


def test_a_changed_row_costs_one_slice(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    first = _manifest(coffre, coffre.backup()["id"])
    slices = sum(
        entry.relation is not None and entry.relation.relation_name == "big" for entry in _entries(coffre, first)
    )
    assert slices > 4

    _run(shop, "UPDATE big SET word = 'changed' WHERE id = 60000", "INSERT INTO small_3 VALUES (51, 'new')")
    second = _manifest(coffre, coffre.backup()["id"])

    # The row left one slice and came into the last one
    before = {entry.name: entry for entry in _entries(coffre, first)}
    changed = [entry.name for entry in _entries(coffre, second) if before[entry.name].sha256 != entry.sha256]
    changed = [name for name in changed if name != "schema"]  # it holds the time, to the second
    assert [name.rsplit("/", 1)[0] for name in changed] == ["tables/public.big"] * 2 + ["tables/public.small_3"]
    assert second.stored_bytes < 3 / slices * first.stored_bytes


def test_every_backup_restores_to_its_own_moment(coffre: Coffre, shop: str) -> None:
    # Given three backups with changes in between
    coffre.configure(shop)
    moments = []
    for statement in (
        "SELECT 1",
        "DELETE FROM big WHERE id % 7 = 0",
        "INSERT INTO big SELECT g, 'late', 'late' FROM generate_series(200000, 230000) g",
    ):
        _run(shop, statement, "TRUNCATE small_1", "ALTER TABLE IF EXISTS small_9 RENAME TO renamed")
        moments.append((coffre.backup()["id"], fingerprint(shop)))

    # Then each restores to what the database was, whatever the later ones point at
    for number, (backup_id, expected) in enumerate(moments):
        name = f"{shop.rsplit('/', 1)[1]}_moment_{number}"
        coffre.restore(backup_id, beside(shop, name))
        assert fingerprint(beside(shop, name)) == expected
        _run(shop, f"DROP DATABASE {name}")


def test_a_pack_that_is_gone_or_cut_is_stored_anew(coffre: Coffre, shop: str) -> None:
    # Given a backup of which one pack was lost and one was truncated
    coffre.configure(shop)
    first = _manifest(coffre, coffre.backup()["id"])
    lost, cut, *_ = sorted(first.packs, key=lambda pack: -pack.length)
    coffre.backup_function().services.vault.store.delete(lost.key)
    coffre.put_object(cut.key, coffre.objects(cut.key)[cut.key][:-1])

    # When the next one is taken
    answer = coffre.backup()

    # Then it points at neither, and restores
    second = _manifest(coffre, answer["id"])
    assert not {lost.key, cut.key} & {pack.key for pack in second.packs}
    name = f"{shop.rsplit('/', 1)[1]}_healed"
    coffre.restore(answer["id"], beside(shop, name))
    assert fingerprint(beside(shop, name)) == fingerprint(shop)
    _run(shop, f"DROP DATABASE {name}")


def test_what_is_left_of_a_mostly_dead_pack_is_stored_anew(coffre: Coffre, shop: str) -> None:
    # Given a backup, and one after most rows changed: it points at the little that stayed
    coffre.configure(shop)
    first = _manifest(coffre, coffre.backup()["id"])
    _run(shop, "UPDATE big SET word = 'x' WHERE id > 20000", "VACUUM big")
    second = _manifest(coffre, coffre.backup()["id"])
    old = {pack.key for pack in first.packs}
    wasteful = [pack for pack in second.packs if pack.key in old and pack.live_bytes < 0.5 * pack.length]
    assert wasteful

    # When a third is taken, it does not point at those packs any more
    third = _manifest(coffre, coffre.backup()["id"])
    assert not {pack.key for pack in wasteful} & {pack.key for pack in third.packs}
    for manifest in (second, third):
        assert all(0 < pack.live_bytes <= pack.length for pack in manifest.packs)


def test_new_recipients_get_everything_anew(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    first = _manifest(coffre, coffre.backup()["id"])
    coffre.configure(shop, recipients=[public_key(coffre.identity), public_key(new_identity())])

    second = _manifest(coffre, coffre.backup()["id"])

    assert not {pack.key for pack in first.packs} & {pack.key for pack in second.packs}
    assert second.notes == ("The recipients changed: everything was stored again.",)
    assert second.exceptions == ()


def test_a_damaged_previous_backup_does_not_stop_the_next(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    first = _manifest(coffre, coffre.backup()["id"])
    coffre.put_object(first.entries[0].key, b"garbage")

    second = _manifest(coffre, coffre.backup()["id"])

    assert first.backup_id in second.notes[0]
    assert not {pack.key for pack in first.packs} & {pack.key for pack in second.packs}


def test_a_full_backup_points_at_nothing_older(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    first = _manifest(coffre, coffre.backup()["id"])

    second = _manifest(coffre, coffre.backup(full=True)["id"])

    assert not {pack.key for pack in first.packs} & {pack.key for pack in second.packs}


def _manifest(coffre: Coffre, backup_id: str) -> Manifest:
    key = f"v1/backups/shop/{backup_id}/manifest.json"
    return Manifest.model_validate_json(coffre.objects(key)[key])


def _entries(coffre: Coffre, manifest: Manifest):  # type: ignore[no-untyped-def]
    return list(coffre.backup_function().services.vault.entries(manifest))


def _run(database: str, *statements: str) -> None:
    session = psycopg2.connect(database)
    session.autocommit = True
    with session.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    session.close()
