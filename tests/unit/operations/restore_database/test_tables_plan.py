"""How chosen tables are restored: staged, created again, or left out with a reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from coffre.model.manifest import TableContent
from coffre.model.names import TableName
from coffre.operations.restore_database.tables_plan import Chosen, TablesPlan, plan_tables, to_look_up
from coffre.postgres.archive.reader import Section, TocEntry

ORDERS = ("public", "orders")


def entry(dump_id: int, description: str, tag: str, *needs: int, schema: str | None = "public") -> TocEntry:
    return TocEntry(dump_id, 0, dump_id, description, tag, schema, "me", Section.PRE_DATA, dependencies=needs)


TABLE = entry(10, "TABLE", "orders")


def content(*, excluded: bool = False, of_extension: bool = False, is_member: bool = False) -> TableContent:
    return TableContent(
        oid=10,
        schema_name="public",
        table_name="orders",
        columns=("id",),
        rows=3,
        size=30,
        rows_excluded=excluded,
        of_extension=of_extension,
        is_member=is_member,
    )


def plan(
    toc: Sequence[TocEntry],
    *tables: Chosen,
    live: Collection[TableName] = (),
    absent: Collection[int] = (),
    with_dependencies: bool = False,
) -> TablesPlan:
    chosen = tables or (Chosen(ORDERS, content(), TABLE),)
    looked_up = {one.dump_id for one in to_look_up(toc, chosen, live, with_dependencies=with_dependencies)}
    assert looked_up >= set(absent), "the plan is given what was not looked up"
    return plan_tables(toc, chosen, live, absent, with_dependencies=with_dependencies)


def ids(entries: Sequence[TocEntry]) -> list[int]:
    return [one.dump_id for one in entries]


def test_an_existing_table_is_staged_and_nothing_is_created() -> None:
    found = plan([TABLE, entry(11, "INDEX", "orders_note", 10)], live={ORDERS})

    assert list(found.staged) == [ORDERS]
    assert (found.tables, found.lines, found.followers, found.left_as_they_are) == ([], [], [], [])


def test_existing_tables_without_all_their_rows_in_the_backup_are_left_with_a_reason() -> None:
    tables = [Chosen(("public", "a"), content(excluded=True), None)]
    tables += [Chosen(("public", "b"), content(of_extension=True), None)]
    tables += [Chosen(("public", "c"), content(of_extension=True, is_member=True), None)]
    found = plan([], *tables, live={table.name for table in tables})

    assert list(found.staged) == [("public", "c")]
    assert [text.split(": ")[0] for text in found.left_as_they_are] == [
        "public.a is left as it is",
        "public.b is left as it is",
    ]


def test_a_missing_table_is_created_with_its_parts_and_keys_come_last() -> None:
    customers = entry(20, "TABLE", "customers")
    key = entry(12, "FK CONSTRAINT", "orders orders_customer_fkey", 10, 20)
    toc = [TABLE, customers, entry(11, "INDEX", "orders_note", 10), key]
    found = plan(toc)

    assert found.staged == {}
    assert [table.name for table in found.tables] == [ORDERS]
    assert ids(found.lines) == [10, 11]
    assert ids(found.followers) == [12]
    assert found.exceptions == []


def test_a_key_to_a_table_that_does_not_exist_is_left_out_and_the_table_is_not_needed() -> None:
    customers = entry(20, "TABLE", "customers")
    toc = [TABLE, customers, entry(12, "FK CONSTRAINT", "orders orders_customer_fkey", 10, 20)]
    found = plan(toc, absent={20})

    assert found.lacking == []
    assert ids(found.lines) == [10]
    assert found.followers == []
    assert 12 in found.known
    assert 12 not in found.wanted
    assert len(found.exceptions) == 1
    assert "orders_customer_fkey" in found.exceptions[0]


def test_missing_dependencies_are_created_only_when_asked_for_but_a_schema_always() -> None:
    schema, kind = entry(1, "SCHEMA", "app", schema=None), entry(2, "TYPE", "state", 1)
    table = entry(10, "TABLE", "orders", 1, 2)
    chosen = Chosen(ORDERS, content(), table)
    toc = [schema, kind, table]
    alone = plan(toc, chosen, absent={1, 2})
    asked_for = plan(toc, chosen, absent={1, 2}, with_dependencies=True)

    assert (ids(alone.dependencies), ids(alone.lacking)) == ([1], [2])
    assert (ids(asked_for.dependencies), ids(asked_for.lacking)) == ([1, 2], [])
    assert ids(asked_for.lines) == [1, 2, 10]
    assert ids(plan(toc, chosen).lines) == [10]


def test_dropped_dependents_are_restored_last_when_asked_for_and_otherwise_named() -> None:
    toc = [TABLE, entry(30, "VIEW", "sales", 10), entry(31, "ACL", "TABLE sales", 30)]
    alone = plan(toc, absent={30})
    asked_for = plan(toc, absent={30}, with_dependencies=True)

    assert (ids(alone.dropped.lost), alone.followers) == ([30], [])
    assert "public.sales" in alone.exceptions[0]
    assert "--with-dependencies" in alone.exceptions[0]
    assert (ids(asked_for.dropped.back), ids(asked_for.followers)) == ([30], [30, 31])
    assert asked_for.exceptions == []


def test_a_dropped_dependent_that_needs_another_missing_table_is_not_restored() -> None:
    toc = [TABLE, entry(20, "TABLE", "customers"), entry(30, "VIEW", "sales", 10, 20)]
    found = plan(toc, absent={20, 30}, with_dependencies=True)

    assert ids(found.dropped.lost) == [30]
    assert found.followers == []
    assert 20 not in found.wanted


def test_a_partition_of_an_existing_table_joins_it_in_the_end() -> None:
    parent = entry(5, "TABLE", "events")
    partition = entry(10, "TABLE", "events_2024")
    toc = [
        parent,
        partition,
        entry(11, "TABLE ATTACH", "events_2024", 5, 10),
        entry(6, "INDEX", "events_day", 5),
        entry(12, "INDEX", "events_2024_day", 10),
        entry(13, "INDEX ATTACH", "events_2024_day", 12, 6),
    ]
    found = plan(toc, Chosen(("public", "events_2024"), content(), partition))

    assert ids(found.attachments) == [11]
    assert ids(found.lines) == [10, 12]
    assert found.followers == []


def test_the_plan_keeps_only_what_the_destination_can_have() -> None:
    index, key = entry(11, "INDEX", "orders_note", 10), entry(12, "FK CONSTRAINT", "orders orders_parent_fkey", 10)
    found = plan([TABLE, index, key]).only([TABLE, key])

    assert ids(found.lines) == [10]
    assert ids(found.followers) == [12]
