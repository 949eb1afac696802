"""docs/restore.md: databases, tables and rows."""

from __future__ import annotations

from typing import Any

from tests.unit.docs.scenes import Stage, scene
from tests.unit.docs.scenes.casa import DESTINATION, LOST, person, play, tables, whole
from tests.unit.docs.shown import is_made_in

from coffre.model.restore_report import Comparison, Kept, LeftOut
from coffre.model.words import counted

PAGE = "docs/restore.md"
PARTS = "operations/restore_database"


def compared(table: str, **counts: Any) -> Any:
    """Return what a report says of a table in use, by the restore's id."""
    changed = counts.get("updated", 0)

    def made(run: str) -> tuple[Comparison, ...]:
        side = f"restored_{run}.{table}"
        before = f"{side}_before" if changed else None
        return (Comparison(table=f"casa.{table}", beside=side, before=before, **{"extra": 0, **counts}),)

    return made


def kept_schema(run: str) -> tuple[Kept, ...]:
    """Return the staging schema as a report names it."""
    assert is_made_in(f"the schema restored_{run}", f"{PARTS}/staged_rows.py", words=2)
    return (Kept(what=f"the schema restored_{run}", remove=f'DROP SCHEMA "restored_{run}" CASCADE'),)


@scene(f"{PAGE}#I dropped a table", "coffre restore tables latest payments --with-dependencies")
def a_dropped_table(stage: Stage) -> None:
    dependents = (
        "materialized view analytics.monthly_revenue",
        "materialized view analytics.forecast",
        "materialized view analytics.yearly_revenue",
        "view billing.unpaid_invoices",
        "foreign key billing.refunds refunds_payment_id_fkey",
    )
    play(stage, milliseconds=790, report={"tables": tables(1), "rows": 49_265, "dependents": dependents})


@scene(
    f"{PAGE}#Rows were deleted",
    "coffre restore rows latest reviews --where-column written_at --from 2025-06-27 --until 2025-06-29",
)
def deleted_rows(stage: Stage) -> None:
    found = compared("reviews", missing=28, changed=25, same=5, columns=("rating",))
    play(
        stage,
        milliseconds=207,
        report={"tables": tables(1), "rows": 58, "comparisons": found, "kept": kept_schema},
    )


APPLIED = (
    "Load the requested rows of casa.reviews into the staging table restored_<id>.reviews.",
    (
        "Insert the missing rows into casa.reviews and set the changed ones back, by key; keep a copy of what that "
        "changes."
    ),
)
APPLY = "coffre restore rows latest reviews --where-column written_at --from 2025-06-27 --until 2025-06-29 --apply"


@scene(
    f"{PAGE}#Rows were deleted",
    "Applied 53 of 58 rows of the backup to 127.0.0.1:48351/casa in 288 ms.",
    command=APPLY,
    typed="casa\n",
)
def applied_rows(stage: Stage) -> None:
    person(stage)
    assert all(is_made_in(step, f"{PARTS}/staging.py") for step in APPLIED)
    found = compared("reviews", missing=28, changed=25, same=5, columns=("rating",), inserted=28, updated=25)
    play(
        stage,
        milliseconds=288,
        steps=APPLIED,
        report={"tables": tables(1), "rows": 58, "comparisons": found, "kept": kept_schema},
    )


@scene(
    f"{PAGE}#Cleaning up",
    "Kept: the schema restored_01m80s28d444gk1s0w58p0rbbz. When it is no longer needed, in psql:",
    command=APPLY,
    typed="casa\n",
)
def what_is_kept(stage: Stage) -> None:
    applied_rows(stage)


@scene(f"{PAGE}#An UPDATE without WHERE", "coffre restore tables latest listings")
def a_wrong_update(stage: Stage) -> None:
    found = compared("listings", missing=0, changed=8_000, same=0, columns=("nightly_price",))
    play(
        stage,
        milliseconds=640,
        report={"tables": tables(1), "rows": 8_000, "comparisons": found, "kept": kept_schema},
    )


@scene(
    f"{PAGE}#Into a new database",
    "DESTINATION='postgresql://postgres:...@127.0.0.1:48351/casa_copy' "
    "coffre restore database latest --to env:DESTINATION",
)
def a_new_database(stage: Stage) -> None:
    play(stage, milliseconds=5_400, report=whole(), where="127.0.0.1:48351/casa_copy")


REPLACED = (
    "Create the database 127.0.0.1:48351/casa_restored_<id>.",
    "Restore 49 tables with 766,090 rows (69.9 MB) over 2 connections, count them, then build indexes and constraints.",
    "Gather the statistics that the planner needs (ANALYZE).",
    (
        "Disconnect everyone from 127.0.0.1:48351/casa, rename it to casa_before_<id>, and rename casa_restored_<id> "
        "to casa."
    ),
)


def replacing(stage: Stage, newest_row: str | None = None) -> None:
    """Let a person replace the whole sample."""
    person(stage)
    for step in ("Create the database", *REPLACED[1:3]):
        assert is_made_in(step, f"{PARTS}/whole_plan.py", words=3)
    assert is_made_in(REPLACED[3], f"{PARTS}/replace_database.py")

    def kept(run: str) -> tuple[Kept, ...]:
        assert is_made_in(f"the old database, as casa_before_{run}", f"{PARTS}/replace_database.py", words=3)
        return (Kept(what=f"the old database, as casa_before_{run}", remove=f'DROP DATABASE "casa_before_{run}"'),)

    where = {"newest_row_in": "casa.reviews.written_at"} if newest_row else {}
    lost = LOST.model_copy(update={"newest_row": newest_row, **where})
    play(stage, milliseconds=5_500, report={**whole(), "kept": kept}, steps=REPLACED, lost=lost)


@scene(f"{PAGE}#In place of the old one", "coffre restore database latest --replace", typed="casa\n")
def in_place_of_the_old_one(stage: Stage) -> None:
    replacing(stage)


@scene("docs/confirmation.md#With the command", "coffre restore database latest --replace", typed="casa\n")
def confirmed(stage: Stage) -> None:
    replacing(stage, "2026-11-28 03:01:12")


@scene(f"{PAGE}#The SAFETY backup", "coffre restore tables 01M8GA... listings --replace", typed="casa\n")
def backed_up_first(stage: Stage) -> None:
    person(stage)
    steps = (
        "Load 4,211 rows of casa.listings into the staging table restored_<id>.listings.",
        (
            "Make the rows of casa.listings those of the backup: insert, set back and delete by key; keep a copy of "
            "what that changes."
        ),
    )
    assert all(is_made_in(step, f"{PARTS}/staging.py") for step in steps)
    found = compared(
        "listings", missing=211, changed=4_000, same=0, columns=("nightly_price",), inserted=211, updated=4_000
    )
    report = {"tables": tables(1), "rows": 4_211, "comparisons": found, "kept": kept_schema}
    play(stage, milliseconds=1_200, report=report, steps=steps, is_backed_up=True)


@scene(f"{PAGE}#What a restore leaves out", "coffre restore database latest --to env:DESTINATION", status=4)
def left_out(stage: Stage) -> None:
    stage.monkeypatch.setenv("DESTINATION", DESTINATION)
    left = LeftOut(
        what="the validation of the foreign key public.points points_kind_fkey",
        reason='rows violate it (insert or update on table "points" violates foreign key constraint '
        '"points_kind_fkey" (SQLSTATE 23503)). It exists as NOT VALID: new rows are checked',
    )
    assert is_made_in(left.what, f"{PARTS}/definition_report.py", words=3)
    assert is_made_in(left.reason, f"{PARTS}/definition_report.py")
    report = {"tables": tables(2), "rows": 1_810, "left_out": (left,), "script": "ALTER TABLE ...;"}
    play(stage, milliseconds=1_200, report=report, where="db.example.com:5432/shop_copy", target="shop")


@scene(
    f"{PAGE}#Only the definitions, or only the rows",
    "coffre restore database latest --to env:DESTINATION --contents schema",
)
def definitions_only(stage: Stage) -> None:
    stage.monkeypatch.setenv("DESTINATION", DESTINATION)
    play(stage, milliseconds=1_300, report={"tables": (), "rows": 0}, where="127.0.0.1:48351/casa_schema")


@scene(f"{PAGE}#Into another platform", "coffre restore database latest --to env:DESTINATION; echo $?", status=4)
def another_platform(stage: Stage) -> None:
    stage.monkeypatch.setenv("DESTINATION", DESTINATION)
    reason = '"app" is not a member of this role'
    assert is_made_in(reason, f"{PARTS}/privileges.py")
    left = [
        LeftOut(what="the owner of 212 objects", reason=f'"casa_app": {reason}'),
        LeftOut(
            what=f"{counted(9, 'privilege')} of casa_readonly", reason="the role does not exist at the destination"
        ),
        LeftOut(what="the owner of 2 objects", reason=f'"postgres": {reason}'),
    ]
    assert all(is_made_in(left[at].what, f"{PARTS}/definition_report.py", words=3) for at in (0, 2))
    assert is_made_in(" of casa_readonly", f"{PARTS}/definitions.py", words=1)
    assert is_made_in(left[1].reason, f"{PARTS}/privileges.py")
    left.append(
        LeftOut(
            what="the default acl casa DEFAULT PRIVILEGES FOR TABLES",
            reason="permission denied to change default privileges (SQLSTATE 42501)",
        )
    )
    play(
        stage,
        milliseconds=6_700,
        report={**whole(), "left_out": tuple(left), "script": "ALTER ..."},
        where="127.0.0.1:48351/casa_app",
    )
