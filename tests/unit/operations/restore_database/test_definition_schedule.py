"""Which definitions are made at the same time: never two in each other's way, never one before what it needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.operations.restore_database.definition_schedule import Schedule
from coffre.postgres.archive.reader import Section, TocEntry

LARGE = 10 * 1024 * 1024


def entry(dump_id: int, description: str, *needs: int) -> TocEntry:
    return TocEntry(
        dump_id, 0, dump_id, description, f"e{dump_id}", "public", "me", Section.POST_DATA, dependencies=tuple(needs)
    )


def schedule(entries: list[TocEntry], tables: list[TocEntry], sizes: dict[int, int] | None = None) -> Schedule:
    by_id = {one.dump_id: one for one in (*tables, *entries)}
    return Schedule(entries, by_id, sizes or {}, lambda: None)


def test_small_tables_go_together_and_in_order() -> None:
    tables = [entry(number, "TABLE") for number in (1, 2)]
    made = [entry(11, "CONSTRAINT", 1), entry(12, "CONSTRAINT", 2), entry(13, "FK CONSTRAINT", 1, 2, 12)]

    assert schedule(made, tables).take() == made


def test_of_large_tables_the_largest_is_first_and_its_indexes_share_it() -> None:
    tables = [entry(1, "TABLE"), entry(2, "TABLE")]
    small, first, second = entry(11, "INDEX", 1), entry(12, "INDEX", 2), entry(13, "INDEX", 2)
    key = entry(14, "CONSTRAINT", 2)
    plan = schedule([small, first, key, second], tables, {1: LARGE, 2: 2 * LARGE})

    assert plan.take() == [first]
    # Then another index of the same table, but no constraint of it
    assert plan.take() == [second]
    assert plan.take() == [small]
    plan.done([first])
    plan.done([second])
    assert plan.take() == [key]


def test_nothing_is_handed_out_after_a_stop() -> None:
    plan = schedule([entry(11, "INDEX", 1)], [entry(1, "TABLE")])
    plan.stop()

    assert plan.take() == []


def test_who_waits_hears_that_the_run_is_stopped() -> None:
    def check() -> None:
        raise TimeoutError

    plan = Schedule([entry(11, "INDEX", 1)], {}, {}, check)

    with pytest.raises(TimeoutError):
        plan.take()


@given(
    st.lists(
        st.tuples(st.sampled_from(["INDEX", "CONSTRAINT", "FK CONSTRAINT", "TRIGGER"]), st.sets(st.integers(1, 5))),
        max_size=30,
    ),
    st.dictionaries(st.integers(1, 5), st.integers(0, 2 * LARGE)),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_everything_is_made_once_after_its_needs_and_nobody_meets_another(
    kinds: list[tuple[str, set[int]]], sizes: dict[int, int], workers: int, choice: object
) -> None:
    tables = [entry(number, "TABLE") for number in range(1, 6)]
    entries: list[TocEntry] = []
    for number, (kind, needs) in enumerate(kinds, 10):
        earlier = [number - 1] if kind == "TRIGGER" and number > 10 else []
        entries.append(entry(number, kind, *sorted(needs), *earlier))
    plan = schedule(entries, tables, sizes)
    running: list[list[TocEntry]] = []
    made: list[int] = []
    while len(made) < len(entries):
        while len(running) < workers and plan._ready():
            batch = plan.take()
            for one in batch:
                needed = [need for need in one.dependencies if need >= 10]
                assert all(need in made or need in [other.dump_id for other in batch] for need in needed)
            running.append(batch)
            shared = [(set(one.dependencies) & {1, 2, 3, 4, 5}, one.description) for part in running for one in part]
            assert _meet_nobody(running), shared
        assert running
        done = running.pop(0)
        plan.done(done)
        made += [one.dump_id for one in done]

    assert sorted(made) == [one.dump_id for one in entries]
    assert plan.take() == []


def _meet_nobody(running: list[list[TocEntry]]) -> bool:
    for number, part in enumerate(running):
        for other in running[number + 1 :]:
            for one in part:
                for another in other:
                    is_shared = one.description == another.description == "INDEX"
                    if not is_shared and {1, 2, 3, 4, 5} & set(one.dependencies) & set(another.dependencies):
                        return False
    return True
