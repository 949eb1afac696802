"""Rows that have exchanged unique values are set back, and nothing else is lost over it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.contents import RoundTrip, rows, run, schema_of, value

from coffre.model.errors import CoffreError
from coffre.model.restore_report import RestoreReport
from coffre_local.sample import fingerprint

ROTATE = "UPDATE item SET list_pos = CASE id WHEN 1 THEN 20 WHEN 2 THEN 30 WHEN 3 THEN 10 END WHERE id <= 3"
CHILDREN = (
    "CREATE TABLE tag (id int PRIMARY KEY, item int REFERENCES item ON DELETE CASCADE)",
    "INSERT INTO tag SELECT id, id FROM item",
)
TOUCH = (
    "CREATE TABLE audit (what text, id int)",
    """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO public.audit VALUES (tg_op, coalesce(new.id, old.id)); RETURN coalesce(new, old); END'""",
    "CREATE TRIGGER note BEFORE INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION note()",
)


def exchanged(round_trip: RoundTrip, *statements: str, change: tuple[str, ...], **scope: Any) -> RestoreReport:
    """Fill, back up, change, replace the table `item`, and compare everything with what it was."""
    round_trip.fill(*statements)
    backup = round_trip.back_up()
    before, schema = fingerprint(round_trip.source), schema_of(round_trip.home, round_trip.source)
    round_trip.fill(*change)
    report = round_trip.restore_in_place(backup, **{"tables": ["item"], "replace": True} | scope)
    run(round_trip.source, *(kept.remove for kept in report.kept))
    assert fingerprint(round_trip.source) == before
    assert schema_of(round_trip.home, round_trip.source) == schema
    return report


def item(unique: str = "UNIQUE") -> tuple[str, str]:
    return (
        f"CREATE TABLE item (id int PRIMARY KEY, list_pos int NOT NULL {unique}, name text)",
        "INSERT INTO item (id, list_pos, name) SELECT n, 10 * n, 'item ' || n FROM generate_series(1, 6) n",
    )


UNIQUE = ("ALTER TABLE item DROP CONSTRAINT item_list_pos_key", ROTATE, "ALTER TABLE item ADD UNIQUE (list_pos)")


@pytest.mark.parametrize("children", [(), CHILDREN], ids=["alone", "keys"])
def test_a_rotation_is_set_back(round_trip: RoundTrip, children: tuple[str, ...]) -> None:
    report = exchanged(round_trip, *item(), *children, change=UNIQUE)

    (found,) = report.comparisons
    assert (found.inserted, found.updated, found.deleted) == (0, 3, 0)
    assert report.exceptions == ()


def test_two_rows_that_swapped_keep_what_points_at_them(round_trip: RoundTrip) -> None:
    """What the issue reports."""
    round_trip.fill(*item(), *CHILDREN, *TOUCH)
    backup = round_trip.back_up()
    round_trip.fill(*UNIQUE, "DELETE FROM audit")

    report = round_trip.restore_in_place(backup, tables=["item"], replace=True)

    assert rows(round_trip.source, "SELECT id, list_pos FROM item ORDER BY 1") == [(n, 10 * n) for n in range(1, 7)]
    assert value(round_trip.source, "SELECT count(*) FROM tag") == 6
    # Then triggers saw updates, as they do when a person sets rows back, and only the last try is told
    assert rows(round_trip.source, "SELECT what, id FROM audit ORDER BY 2") == [("UPDATE", n) for n in (1, 2, 3)]
    assert report.exceptions == ("Triggers also changed public.audit: 3 rows inserted, 0 updated, 0 deleted.",)


@pytest.mark.parametrize(
    ("definition", "drop", "add"),
    [
        ("UNIQUE (list_pos) INCLUDE (name)", "ALTER TABLE item DROP CONSTRAINT it", None),
        ("EXCLUDE USING btree (list_pos WITH =)", "ALTER TABLE item DROP CONSTRAINT it", None),
        ("UNIQUE (list_pos) DEFERRABLE", "ALTER TABLE item DROP CONSTRAINT it", None),
        ("", "DROP INDEX it", "CREATE UNIQUE INDEX it ON item (list_pos) WITH (fillfactor = 70) WHERE id > 0"),
        ("", "DROP INDEX it", "CREATE UNIQUE INDEX it ON item ((list_pos * 2), lower(name) DESC)"),
    ],
    ids=["include", "exclude", "deferrable", "partial", "expression"],
)
@pytest.mark.parametrize("children", [CHILDREN], ids=["keys"])
def test_indexes_of_every_kind_stay_as_they_are(
    round_trip: RoundTrip, definition: str, drop: str, add: str | None, children: tuple[str, ...]
) -> None:
    made = add or f"ALTER TABLE item ADD CONSTRAINT it {definition}"
    kind = "INDEX it" if add else "CONSTRAINT it ON item"
    about = (f"COMMENT ON {kind} IS 'one place each'", "ALTER TABLE item CLUSTER ON it")
    if "DEFERRABLE" in made or "WHERE" in made:
        about = (about[0], "SELECT")
    same_names = "UPDATE item SET name = 'same' WHERE id > 0"

    report = exchanged(round_trip, *item(""), same_names, made, *about, *children, change=(drop, ROTATE, made, *about))

    (found,) = report.comparisons
    assert (found.inserted, found.updated, found.deleted) == (0, 3, 0)


def test_chains_through_rows_that_come_and_go(round_trip: RoundTrip) -> None:
    report = exchanged(
        round_trip,
        *item(),
        *CHILDREN,
        "DELETE FROM tag WHERE item > 5",
        change=(
            *UNIQUE,
            "DELETE FROM item WHERE id = 6",
            "UPDATE item SET list_pos = 60 WHERE id = 4",
            "INSERT INTO item VALUES (7, 40, 'new')",
        ),
    )

    (found,) = report.comparisons
    assert (found.inserted, found.updated, found.deleted) == (1, 4, 1)


def test_a_chain_is_set_back_without_deleting_too(round_trip: RoundTrip) -> None:
    report = exchanged(
        round_trip,
        *item(),
        change=("DELETE FROM item WHERE id = 6", "UPDATE item SET list_pos = 60 WHERE id = 5"),
        replace=False,
        apply=True,
        rows={"where": "true"},
    )

    (found,) = report.comparisons
    assert (found.inserted, found.updated) == (1, 1)


def test_what_only_the_table_in_use_has_stays_with_its_row(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, list_pos int UNIQUE,"
        " twice int GENERATED ALWAYS AS (list_pos * 2) STORED, up int REFERENCES item)",
        "INSERT INTO item (list_pos) SELECT n FROM generate_series(1, 4) n",
        "UPDATE item SET up = 5 - id",
    )
    backup = round_trip.back_up()
    round_trip.fill(
        "ALTER TABLE item ADD COLUMN later text DEFAULT 'x'",
        "UPDATE item SET later = 'kept ' || id",
        "UPDATE item SET list_pos = NULL WHERE id <= 2",
        "UPDATE item SET list_pos = 3 - id WHERE id <= 2",
        "UPDATE item SET up = NULL",
        "DELETE FROM item WHERE id = 3",
    )

    report = round_trip.restore_in_place(backup, tables=["item"], replace=True)

    assert rows(round_trip.source, "SELECT id, list_pos, twice, up, later FROM item ORDER BY 1") == [
        (1, 1, 2, 4, "kept 1"),
        (2, 2, 4, 3, "kept 2"),
        (3, 3, 6, 2, "x"),
        (4, 4, 8, 1, "kept 4"),
    ]
    assert report.exceptions == ()


def test_partitioned_tables_exchange_too(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE item (id int, place int, list_pos int, PRIMARY KEY (id, place)) PARTITION BY LIST (place)",
        "CREATE UNIQUE INDEX it ON item (place, list_pos)",
        "CREATE TABLE item_1 PARTITION OF item FOR VALUES IN (1)",
        "CREATE TABLE item_2 PARTITION OF item FOR VALUES IN (2)",
        "INSERT INTO item SELECT n, 1 + n % 2, n FROM generate_series(1, 6) n",
    )
    backup = round_trip.back_up()
    before = rows(round_trip.source, "SELECT * FROM item ORDER BY 1")
    round_trip.fill(
        "DROP INDEX it",
        "UPDATE item SET list_pos = CASE id WHEN 1 THEN 3 WHEN 3 THEN 5 ELSE 1 END WHERE id IN (1, 3, 5)",
        "CREATE UNIQUE INDEX it ON item (place, list_pos)",
    )

    round_trip.restore_in_place(backup, tables=["item"], replace=True)

    assert rows(round_trip.source, "SELECT * FROM item ORDER BY 1") == before


def test_what_cannot_be_exchanged_changes_nothing(round_trip: RoundTrip) -> None:
    """A key of another table relies on the very index."""
    round_trip.fill(
        *item(),
        "CREATE TABLE place (pos int REFERENCES item (list_pos) ON UPDATE CASCADE ON DELETE CASCADE)",
        "INSERT INTO place SELECT list_pos FROM item",
    )
    backup = round_trip.back_up()
    round_trip.fill(
        "ALTER TABLE place DROP CONSTRAINT place_pos_fkey",
        *UNIQUE,
        "ALTER TABLE place ADD FOREIGN KEY (pos) REFERENCES item (list_pos) ON UPDATE CASCADE ON DELETE CASCADE",
    )
    before = fingerprint(round_trip.source)

    with pytest.raises(CoffreError) as caught:
        round_trip.restore_in_place(backup, tables=["item"], replace=True)

    assert caught.value.code == "APPLY_FAILED"
    assert "item_list_pos_key" in (caught.value.detail or "")
    assert fingerprint(round_trip.source) == before


def test_rows_of_a_chosen_child_survive_its_parents_exchange(round_trip: RoundTrip) -> None:
    round_trip.fill(
        *item(),
        *CHILDREN,
        "CREATE TABLE leaf (tag int REFERENCES tag ON DELETE CASCADE)",
        "INSERT INTO leaf SELECT id FROM tag",
    )
    backup = round_trip.back_up()
    before = fingerprint(round_trip.source)
    round_trip.fill(*UNIQUE, "UPDATE tag SET item = 2 WHERE id = 1")

    report = round_trip.restore_in_place(backup, tables=["item", "tag"], replace=True)

    assert {name: it for name, it in fingerprint(round_trip.source).items() if "restored_" not in name} == before
    assert report.exceptions == ()
