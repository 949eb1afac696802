"""Entries of a table of contents that are restored in a way of their own."""

from coffre.postgres.archive.reader import Section, TocEntry
from coffre.postgres.archive.toc import is_event_trigger, is_of_database


def entry(dump_id: int, description: str, tag: str, schema: str | None = None, owner: str = "postgres") -> TocEntry:
    return TocEntry(dump_id, 0, 0, description, tag, schema, owner, Section.PRE_DATA)


ENTRIES = (
    entry(1, "EXTENSION", "pg_trgm", owner=""),
    entry(2, "COMMENT", "EXTENSION pg_trgm", owner=""),
    entry(3, "TABLE", "EXTENSION x", "EVENT TRIGGER ", "al ice"),
    entry(4, "COMMENT", 'TABLE "EXTENSION x"', "EVENT TRIGGER ", "al ice"),
    entry(5, "DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES", owner="al ice"),
    entry(6, "DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES", "app", "bob al ice"),
    entry(7, "EVENT TRIGGER", "watch"),
    entry(8, "COMMENT", "EVENT TRIGGER watch"),
    entry(9, "SECURITY LABEL", "TABLE t", "public", "al ice"),
    entry(10, "SECURITY LABEL", "EVENT TRIGGER watch"),
    entry(11, "ACL", 'TABLE "DATABASE x"', "public", "al ice"),
)


def test_event_triggers_and_what_is_said_about_them_are_known() -> None:
    assert [entry.dump_id for entry in ENTRIES if is_event_trigger(entry)] == [7, 8, 10]


def test_what_is_said_about_the_database_itself_is_known() -> None:
    of_database = (
        entry(1, "DATABASE PROPERTIES", "shop"),
        entry(2, "COMMENT", "DATABASE shop"),
        entry(3, "ACL", "DATABASE shop"),
        entry(4, "SECURITY LABEL", "DATABASE shop"),
    )

    assert [is_of_database(entry) for entry in of_database] == [True] * 4
    assert not any(is_of_database(entry) for entry in (*ENTRIES, entry(5, "TABLE", "DATABASE shop", "public")))
