"""Scripts: names cannot smuggle commands into them, rights of many large objects are written out."""

from __future__ import annotations

from coffre.postgres.archive.reader import Archive, Compression, Section, TocEntry
from coffre.postgres.archive.sql_script import PlainWriter, in_order, large_objects
from coffre.postgres.archive.writer import LargeObject


def entry(dump_id: int, description: str, tag: str, definition: str, **more: object) -> TocEntry:
    fields = {"schema": "public", "owner": "me", "drop": "-- dummy", **more}
    return TocEntry(
        dump_id=dump_id, catalog_oid=0, oid=0, description=description, tag=tag, section=Section.PRE_DATA,
        definition=definition, **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def writer(*entries: TocEntry, with_owners: bool = True) -> PlainWriter:
    archive = Archive((1, 16, 0), Compression.NONE, (0,) * 7, "d", "18\n\\! touch trap", "18", entries)
    return PlainWriter(archive, with_owners=with_owners)


def test_no_name_begins_a_line_of_the_script() -> None:
    trap = "x\n\\! touch trap\r\\! touch trap"
    table = entry(1, "TABLE", trap, "CREATE TABLE ...;\n", schema=trap, owner=trap)

    text = writer(table).header(trap) + writer(table).statements(table)

    # but in double quotes, where psql knows no commands
    outside = "".join(text.split('"')[::2])
    assert not [line for line in outside.replace("\r", "\n").split("\n") if line.startswith("\\")]


def test_rights_are_written_for_every_large_object_of_a_group() -> None:
    group = entry(1, "BLOB METADATA", "5..7", "5\n7\n", schema=None)
    grant = 'GRANT SELECT ON LARGE OBJECT 5 TO "a;b LARGE OBJECT 9";\nREVOKE ALL ON LARGE OBJECT 5 FROM me;\n'
    rights = entry(2, "ACL", "LARGE OBJECTS 5..7", grant, schema=None, dependencies=(1,), drop="")
    script = writer(group, rights)

    assert script.statements(group).partition("--\n\n")[2] == (
        "SELECT pg_catalog.lo_create('5');\nSELECT pg_catalog.lo_create('7');\n\n"
        'ALTER LARGE OBJECT 5 OWNER TO "me";\nALTER LARGE OBJECT 7 OWNER TO "me";\n\n'
    )
    assert script.statements(rights).partition("--\n\n")[2] == (
        'GRANT SELECT ON LARGE OBJECT 5 TO "a;b LARGE OBJECT 9";\n'
        'GRANT SELECT ON LARGE OBJECT 7 TO "a;b LARGE OBJECT 9";\n\n'
        "REVOKE ALL ON LARGE OBJECT 5 FROM me;\nREVOKE ALL ON LARGE OBJECT 7 FROM me;\n\n"
    )


def test_without_owners_there_are_no_rights_either() -> None:
    table = entry(1, "TABLE", "t", "CREATE TABLE t ();\n")
    rights = entry(2, "ACL", "TABLE t", "GRANT ...;\n")
    script = writer(table, rights, with_owners=False)

    assert "OWNER" not in script.statements(table).partition("--\n\n")[2]
    assert script.statements(rights) == ""


def test_rights_come_after_objects_and_event_triggers_last() -> None:
    entries = [
        entry(1, "ENCODING", "ENCODING", "SET ..."),
        entry(2, "DATABASE", "d", "CREATE DATABASE d;"),
        entry(3, "COMMENT", "DATABASE d", "..."),
        entry(4, "EVENT TRIGGER", "e", "..."),
        entry(5, "ACL", "TABLE t", "..."),
        entry(6, "COMMENT", "EVENT TRIGGER e", "..."),
        entry(7, "MATERIALIZED VIEW DATA", "m", "..."),
        entry(8, "TABLE", "t", "..."),
    ]

    assert [item.dump_id for item in in_order(entries)] == [8, 5, 4, 6, 7]


def test_large_objects_are_filled_in_one_transaction() -> None:
    text = b"".join(large_objects([LargeObject(4294967295, iter([b"\x00'\\", b"\xff"]))])).decode()

    assert text == (
        "BEGIN;\n\n"
        "SELECT pg_catalog.lo_open('4294967295', 131072);\n"
        "SELECT pg_catalog.lowrite(0, '\\x00275c');\n"
        "SELECT pg_catalog.lowrite(0, '\\xff');\n"
        "SELECT pg_catalog.lo_close(0);\n\n"
        "COMMIT;\n\n"
    )
