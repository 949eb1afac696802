"""Chosen tables and rows as of a moment: staged next to those in use, in their place, and created again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from tests.integration.conftest import new_id
from tests.integration.contents import RoundTripOn, rows, run, value
from tests.integration.journal_story import Story, attempt, killed_at_commit
from tests.integration.vault_copies import command_in, copy_vault, write_identity

from coffre.model.errors import CoffreError
from coffre.model.moment import Moment
from coffre.model.restore import Scope
from coffre.model.restore_report import RestoreReport
from coffre.operations.journal.drain import drain
from coffre.operations.journal.switch_off import switch_off
from coffre.policy import moments
from coffre.postgres.destination import marks
from coffre.postgres.journal import replay
from coffre.vault.layout import JOURNAL
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint

MORE = (
    "CREATE TABLE whole (a int, b boolean, gone boolean)",
    "ALTER TABLE whole REPLICA IDENTITY FULL",
    "INSERT INTO whole SELECT g / 2, g % 2 = 0, g % 3 = 0 FROM generate_series(1, 20) g",
    # An order of texts: the partitions are loaded through their root, and compared together.
    "CREATE TABLE word (lang text, w text, n int, PRIMARY KEY (lang, w)) PARTITION BY RANGE (lang)",
    "CREATE TABLE word_a PARTITION OF word FOR VALUES FROM ('a') TO ('m')",
    "CREATE TABLE word_m (n int, w text NOT NULL, lang text NOT NULL)",
    "ALTER TABLE word ATTACH PARTITION word_m FOR VALUES FROM ('m') TO ('z')",
    "INSERT INTO word SELECT chr(97 + g % 20), 'w' || g, g FROM generate_series(1, 60) g",
    # What identifies the rows of one partition finds those of another one too.
    "CREATE TABLE twin (a int NOT NULL, lang text NOT NULL, n int, PRIMARY KEY (lang, a)) PARTITION BY RANGE (lang)",
    "CREATE TABLE twin_a PARTITION OF twin FOR VALUES FROM ('a') TO ('m')",
    "CREATE TABLE twin_m PARTITION OF twin FOR VALUES FROM ('m') TO ('z')",
    "CREATE UNIQUE INDEX twin_a_of ON twin_a (a); CREATE UNIQUE INDEX twin_m_of ON twin_m (a)",
    "ALTER TABLE twin_a REPLICA IDENTITY USING INDEX twin_a_of",
    "ALTER TABLE twin_m REPLICA IDENTITY USING INDEX twin_m_of",
    "INSERT INTO twin SELECT g, l, g FROM generate_series(1, 9) g, (VALUES ('b'), ('n')) AS v (l)",
    "CREATE TABLE made (a int, b int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY)",
    "INSERT INTO made SELECT generate_series(1, 9)",
)
CHANGES = (
    "UPDATE whole SET gone = NOT gone WHERE a = 3; DELETE FROM whole WHERE gone AND a < 9",
    "INSERT INTO whole VALUES (1)",
    "UPDATE word SET lang = 'n' WHERE w IN ('w1', 'w21'); UPDATE word SET n = -n WHERE n % 7 = 0",
    "UPDATE word SET lang = 'b', w = 'moved' WHERE w = 'w12'; DELETE FROM word WHERE n = 5",
    "UPDATE twin SET n = -n WHERE lang = 'b' AND a < 4; DELETE FROM twin WHERE lang = 'n' AND a IN (2, 5)",
    "UPDATE twin SET a = 20 + a WHERE lang = 'n' AND a > 7; UPDATE twin SET lang = 'n' WHERE lang = 'b' AND a = 2",
    "UPDATE cached SET id = id + 1",
    "DELETE FROM made WHERE a < 4; UPDATE made SET a = a + 10 WHERE a > 7",
)
SAME = ("customer", "bill", "named", "part_low", "word", "twin", "whole")
ACCIDENT = (
    "DELETE FROM bill WHERE id > 100",
    "UPDATE word SET n = 0; DELETE FROM word WHERE lang > 'c'",
    "UPDATE named SET b = 'lost'; DELETE FROM part; UPDATE customer SET name = 'c' || id",
    "TRUNCATE whole; UPDATE twin SET n = 0; DELETE FROM twin WHERE lang = 'b' AND a > 3",
)


@pytest.fixture
def story(logical_server: Callable[[int], PostgresServer], round_trip_on: RoundTripOn) -> Iterator[Story]:
    story = Story(round_trip_on(logical_server(18)), *MORE)
    yield story
    switch_off(story.job)


def in_place(story: Story, **event: Any) -> RestoreReport:
    return story.report(story.round_trip.coffre.restore("latest", None, target="shop", **event))


def refusal(story: Story, **event: Any) -> str:
    """Return why it is refused; nothing was changed."""
    before = fingerprint(story.source)
    with pytest.raises(CoffreError) as caught:
        in_place(story, **event)
    assert fingerprint(story.source) == before
    return caught.value.code


def contents(url: str, *names: str, schema: str = "public") -> dict[str, list[tuple[str]]]:
    return {name: rows(url, f'SELECT to_jsonb(t)::text FROM {schema}."{name}" t ORDER BY 1') for name in names}


def test_tables_and_rows_get_what_they_had_at_a_moment(story: Story) -> None:
    source = story.source
    story.go_on(*CHANGES)
    then, lsn = contents(source, *SAME), story.turns[0].lsn
    moment = {"at": {"lsn": lsn}}
    run(source, *ACCIDENT)
    drain(story.job)
    # Definitions that have changed since then do not matter.
    run(
        source,
        "ALTER TABLE whole DROP COLUMN gone",
        "ALTER TABLE named ALTER a TYPE bigint",
        "ALTER TABLE noted ADD later int",
    )
    drain(story.job)

    # Next to the tables in use
    chosen = ["customer", "bill", "part", "named", "word", "twin", "whole", "cached"]
    plan = in_place(story, tables=chosen, dry_run=True, **moment)
    report = in_place(story, tables=chosen, **moment)
    schema = f"restored_{report.id.lower()}"
    assert contents(source, *SAME, schema=schema) == then
    assert report.backup_id == story.base.id
    for said in (plan.exceptions, report.exceptions):
        assert any("public.cached" in one and "not of the moment" in one for one in said)
    assert any(step.startswith("Apply the journal") for step in plan.steps)
    assert rows(source, f"SELECT FROM pg_namespace WHERE nspname ^@ '{marks.SCHEMA}'") == []
    run(source, f"DROP SCHEMA {schema} CASCADE")

    # What would change tables in use is refused as long as a table has no changes in the journal
    assert refusal(story, tables=["bill", "cached"], replace=True, **moment) == "JOURNAL_TABLES"
    assert refusal(story, tables=["nothing"], **moment) == "PATTERN_UNMATCHED"
    assert refusal(story, tables=["bill"], at={"time": "2020-01-01T00:00:00Z"}) == "JOURNAL_MOMENT"

    assert refusal(story, tables=["noted"], rows={"where": "later > 0"}, **moment) == "ROWS_INVALID"

    # Some rows: those that the condition means as of the moment, also if they were others in the backup
    where = {"where": "n < 0"}
    plan = in_place(story, tables=["word"], rows=where, apply=True, dry_run=True, **moment)
    assert any(step.endswith(f", and keep those that are requested as of {lsn}.") for step in plan.steps)
    report = in_place(story, tables=["word"], rows=where, apply=True, **moment)
    negative = [row for row in then["word"] if '"n": -' in row[0]]
    assert negative
    assert [row for row in contents(source, "word")["word"] if '"n": -' in row[0]] == negative
    assert contents(source, "word", schema=f"restored_{report.id.lower()}")["word"] == negative

    # In their place
    plan = in_place(story, tables=["word"], replace=True, dry_run=True, **moment)
    assert any(step.startswith(f"Make the rows of public.word those of {lsn}:") for step in plan.steps)
    in_place(story, tables=["customer", "bill", "part", "named", "word", "twin"], replace=True, **moment)
    now = contents(source, *SAME)
    assert {**now, "whole": then["whole"]} == then


def test_dropped_tables_are_created_again_as_of_a_moment_by_a_restore_that_is_killed(
    story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = story.source
    story.go_on(*CHANGES)
    then = contents(source, *SAME, "made")
    drain(story.job)
    run(source, "DROP TABLE bill CASCADE; DROP TABLE word; DROP TABLE part_low; DROP TABLE whole", ACCIDENT[2])
    run(source, "ALTER TABLE named RENAME TO renamed; ALTER TABLE made RENAME TO remade")
    monkeypatch.setattr(replay, "_MOST_TRANSACTIONS", 2)
    renamed = "ARRAY['public.named', 'public.made']::regclass[]"
    indexes = f"SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = ANY ({renamed}) ORDER BY 1"
    restore_id, tables = new_id(), ("bill", "word", "part_low", "whole", "customer", "named", "made")
    scope = Scope(at=Moment(lsn=story.turns[0].lsn), tables=tables, with_dependencies=True)

    # Each attempt commits some transactions more: that is progress, however often it is killed
    for number in range(5):
        killed_at_commit(2, lambda: attempt(story, source, restore_id, scope, tmp_path, continues=number > 0))  # noqa: B023
        if number == 0:
            assert rows(source, indexes) == [(f"{name}_{restore_id.lower()}_finder_0",) for name in ("made", "named")]
    report = attempt(story, source, restore_id, scope, tmp_path, continues=True)

    assert contents(source, *then) == {**then, "customer": contents(source, "customer")["customer"]}
    assert contents(source, "customer", schema=f"restored_{restore_id.lower()}")["customer"] == then["customer"]
    assert [said for said in report.exceptions if "not of the moment" in said] == []
    # The renamed tables have the names of their indexes: meanwhile, others find the rows
    assert rows(source, indexes) == []
    assert [one.what for one in report.left_out if "named_a" not in one.what and "made_pkey" not in one.what] == []
    # With keys, triggers and what was dropped with them; the sequence is not behind
    assert value(source, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'bill'::regclass") == 1
    run(source, "INSERT INTO bill (customer, cents) SELECT id, 1 FROM customer", "REFRESH MATERIALIZED VIEW owed")
    assert value(source, "SELECT count(*) FROM part") == len(then["part_low"])
    assert rows(source, f"SELECT FROM pg_namespace WHERE nspname ^@ '{marks.SCHEMA}'") == []


def test_changes_that_are_damaged_or_do_not_fit_change_no_table_in_use(story: Story) -> None:
    source, coffre = story.source, story.round_trip.coffre
    run(source, "UPDATE word SET n = 1 WHERE lang < 'm'")
    drain(story.job)
    # Of the partitions that are staged as one table, only one is emptied
    run(
        source, "UPDATE word SET lang = 'n' WHERE w = 'w1'", "TRUNCATE word_a", "INSERT INTO word VALUES ('c', 'w2', 9)"
    )
    run(source, "UPDATE word SET lang = 'b' WHERE w = 'w13'")
    then, moment = contents(source, "word"), {"at": {"lsn": value(source, "SELECT pg_current_wal_flush_lsn()")}}
    drain(story.job)
    run(source, "UPDATE word SET n = 2", "DELETE FROM word WHERE lang > 'p'")
    drain(story.job)
    with patch.object(moments, "_emptied", return_value=frozenset()):  # the record that says so is deleted
        assert refusal(story, tables=["word"], replace=True, **moment) == "JOURNAL_PARTITIONS"
        [left_out] = in_place(story, tables=["word"], **moment).left_out
    assert "JOURNAL_PARTITIONS" in left_out.reason
    assert left_out.what.startswith("changes of the journal after 0/")
    report = in_place(story, tables=["word"], **moment)
    assert contents(source, "word", schema=f"restored_{report.id.lower()}") == then
    in_place(story, tables=["word"], replace=True, **moment)
    assert contents(source, "word") == then

    for key in coffre.objects(f"{JOURNAL}shop/"):
        if not key.endswith(".json") and "definitions" not in key:
            coffre.put_object(key, b"damaged")
    assert refusal(story, tables=["word_m"], strict=True, **moment) == "OBJECT_TRUNCATED"


@pytest.mark.parametrize("major", [14, 17])
def test_a_moment_of_a_server_of_each_major_is_restored_from_the_vault_alone(
    logical_server: Callable[[int], PostgresServer],
    round_trip_on: RoundTripOn,
    major: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    story = Story(round_trip_on(logical_server(major)))
    story.go_on()
    source, copy, turn = story.source, story.round_trip.copy, story.turns[0]
    then = contents(source, "bill", "part_low")
    run(source, "DELETE FROM bill", "TRUNCATE part")
    drain(story.job)
    vault = copy_vault(story.round_trip.coffre, tmp_path / "vault")
    key = write_identity(story.round_trip.coffre, tmp_path / "key.txt")
    coffre = command_in(tmp_path / "work", monkeypatch, capfd)
    begin = ("--vault", vault, "--identity", key, "restore")

    whole = coffre(*begin, "database", "latest", "--target", "shop", "--to", copy, "--at", turn.at)
    assert whole.status == 4, whole.err  # an unlogged table is as of the backup
    turn.require(copy)
    if major == 14:
        where = ("--target", "shop", "--to", source, "--at-lsn", turn.lsn)
        tables = coffre(*begin, "tables", "latest", "bill", "part", *where, "--replace", "--yes", "--no-safety")
        assert tables.status == 4, tables.err  # a trigger of the table in use has noted what came back
        assert contents(source, "bill", "part_low") == then
    switch_off(story.job)
