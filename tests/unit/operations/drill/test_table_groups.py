"""Groups of tables over several invocations: how they are halved, timed and handed over."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.unit.operations.conftest import CONTENT

from coffre.model.drill_report import DrillState, TableProof, Verdict
from coffre.model.errors import (
    ConnectError,
    DeadlineError,
    DestinationError,
    DrillImpossibleError,
    IntegrityError,
    RestoreError,
)
from coffre.model.manifest import DatabaseContent, TableContent
from coffre.operations.drill.findings import Found
from coffre.operations.drill.table_groups import MOST_INVOCATIONS, Course, halves
from coffre.operations.runs.progress import Meter
from coffre.postgres.connection.address import Connection
from coffre.postgres.scratch.given_server import GivenServer

NOW = datetime(2026, 11, 28, tzinfo=UTC)
FIRST = DrillState(id="D", backup_id="B", target="shop", started_at=NOW)


def table(oid: int, size: int = 1000) -> TableContent:
    return TableContent(oid=oid, schema_name="public", table_name=f"t{oid}", columns=("id",), rows=0, size=size)


def content(*tables: TableContent) -> DatabaseContent:
    return CONTENT.model_copy(update={"tables": tables})


def oids(groups: list[list[TableContent]]) -> list[list[int]]:
    return [[one.oid for one in group] for group in groups]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((1, 1), [[0], [1]]), ((9, 1, 1, 1), [[0], [1, 2, 3]]), ((1, 1, 1, 9), [[0, 1, 2], [3]]), ((0, 0, 0), None)],
)
def test_halves_take_about_the_same_and_keep_the_order(
    sizes: tuple[int, ...], expected: list[list[int]] | None
) -> None:
    found = oids(halves([table(oid, size) for oid, size in enumerate(sizes)]))

    assert all(found)
    assert [oid for half in found for oid in half] == list(range(len(sizes)))
    assert expected in (None, found)


def test_what_was_found_is_handed_over_with_the_groups() -> None:
    found, tables = Found(Meter()), [table(1), table(2), table(3)]
    first = Course(FIRST)
    first.plan(content(*tables), 2500, found)
    proof = TableProof(table="public.t1", verdict=Verdict.DIFFERENT, rows=1, size_bytes=1, slices=1, detail="x")
    with first.group(found) as group:
        found.take_tables([proof])
        found.unreadable.add(7)
        first.done.append(group)

    state = DrillState.model_validate_json(first.left().model_dump_json())
    later = Found(Meter(), phases_ms={"read": 5})
    second = Course(state)
    second.plan(content(*tables), 2500, later)

    assert (oids(second.done), oids(list(second.waiting)), second.is_whole) == ([[1]], [[2], [3]], False)
    assert (later.tables, later.problems, later.unreadable) == (found.tables, found.problems, {7})
    assert later.phases_ms == {"read": 5}
    assert "public.t1 is not as it was backed up: x." in later.problems


def proven(course: Course, found: Found, count: int) -> None:
    for _ in range(count):
        with course.group(found) as group:
            course.done.append(group)


def run_out(course: Course, found: Found) -> None:
    """Let time run out in the middle of a group."""

    def work() -> None:
        with course.group(found):
            found.left_out.append("half of what was found")
            raise DeadlineError("over")

    with pytest.raises(DeadlineError):
        work()


def test_the_first_group_of_an_invocation_is_tried_and_the_next_one_only_with_enough_time() -> None:
    """Given groups of 2,000 bytes (by their estimate), and an earlier invocation that proved 100 bytes a second."""
    found, tables = Found(Meter()), [table(1), table(2), table(3)]
    state = FIRST.model_copy(
        update={"invocation": 2, "waiting": ((1,), (2,), (3,)), "seconds": 1e9, "size_bytes": 10**11}
    )
    course = Course(state)
    course.plan(content(*tables), 2500, found)

    assert course.has_time(1.0), "no invocation has more time"
    proven(course, found, 1)
    assert not course.has_time(65.0)
    assert course.has_time(67.0)  # 40 in reserve, and 2,000 bytes with room


@pytest.mark.parametrize(
    ("waiting", "proven_before", "left"),
    [
        ([[1, 2], [3]], 0, [[1], [2], [3]]),  # halved: a whole invocation was not enough
        ([[3], [1, 2]], 1, [[1, 2]]),  # as it is: the next invocation has more time for it
        ([[1]], 0, None),  # a table alone: no invocation has
    ],
)
def test_a_deadline_in_a_group_leaves_it_for_the_next_invocation(
    waiting: list[list[int]], proven_before: int, left: list[list[int]] | None
) -> None:
    found, tables = Found(Meter()), [table(1), table(2), table(3)]
    course = Course(FIRST.model_copy(update={"invocation": 2, "waiting": tuple(map(tuple, waiting))}))
    course.plan(content(*tables), 1, found)
    proven(course, found, proven_before)

    run_out(course, found)

    state = course.after_deadline()
    assert (state and list(map(list, state.waiting))) == left
    if state is not None:
        assert (state.invocation, len(state.done), state.findings.left_out) == (3, proven_before, ())


def test_a_drill_does_not_continue_for_ever() -> None:
    found = Found(Meter())
    course = Course(FIRST.model_copy(update={"invocation": MOST_INVOCATIONS, "waiting": ((1, 2),)}))
    course.plan(content(table(1), table(2)), 1, found)
    run_out(course, found)
    assert course.after_deadline() is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DestinationError("It is older.", code="DESTINATION_TOO_OLD"), "DESTINATION_TOO_OLD"),
        (ConnectError("It is gone."), "SCRATCH_SERVER_FAILED"),
        (RestoreError("No.", detail="terminating connection (SQLSTATE 57P01)"), "SCRATCH_SERVER_FAILED"),
        (RestoreError("No.", detail="No space left on device (SQLSTATE 53100)"), "SCRATCH_FULL"),
        (RestoreError("No.", detail="(SQLSTATE 23505)"), None),
        (IntegrityError("It is damaged."), None),
    ],
)
def test_what_a_given_server_cannot_do_says_nothing_against_the_backup(error: Exception, code: str | None) -> None:
    address = Connection("db.example", 5432, "me", "secret", "postgres")
    server = GivenServer(address, is_superuser=False, version_number=170000, password="x")
    if code is None:
        server.refuse_impossible(error)
        return
    with pytest.raises(DrillImpossibleError) as impossible:
        server.refuse_impossible(error)
    assert impossible.value.code == code


def test_the_proof_of_a_journal_has_invocations_of_its_own_as_long_as_each_does_a_part() -> None:
    found, tables = Found(Meter()), [table(1), table(2)]
    course = Course(FIRST)
    course.plan(content(*tables), 10_000, found)
    with course.group(found) as group:
        course.done.append(group)
    found.row_hashes["public.t1"] = "1 2 3"
    found.server_version = "18.1"
    course.begin_proof(found)
    assert course.may_continue_proof

    # What was found is handed over whole when the time is over, and by choice.
    for left in (course.left(), course.after_deadline()):
        assert left is not None
        later = Found(Meter())
        second = Course(DrillState.model_validate_json(left.model_dump_json()))
        second.plan(content(*tables), 10_000, later)
        assert (list(second.waiting), oids(second.done), second.is_whole) == ([], [[1, 2]], True)
        assert (later.row_hashes, later.server_version) == (found.row_hashes, "18.1")
        second.begin_proof(later)
        assert not second.may_continue_proof
        assert second.after_deadline() is None
        # Unless this one has done a part of it.
        later.compared.append("public.t1")
        second.proven(later)
        third = second.after_deadline()
        assert third is not None
        assert (third.invocation, third.findings.compared) == (3, ("public.t1",))

    # A group of which nothing is known fits; otherwise the rate decides.
    assert course.fits([], 41)
    slow = Course(second.state.model_copy(update={"seconds": 100.0, "size_bytes": 1000}))
    slow.plan(content(*tables), 10_000, Found(Meter()))
    assert slow.fits(tables[:1], 400)
    assert not slow.fits(tables[:1], 200)
