"""A journal by pgoutput: what the publication lacks is never taken for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg2
import pytest
from tests.integration.journal_vault import Journal

from coffre.model.errors import JournalError, JournalTransientError
from coffre.model.journal import JournalEnd
from coffre.operations.journal.job import DrainReport
from coffre.policy.checks.check import Finding
from coffre.policy.checks.publication import JournalPublication, journal_publication
from coffre.postgres.inspection.sessions import reading
from coffre.postgres.journal.publication_facts import read_journal_publication

_TABLES = """
CREATE TABLE one (id int PRIMARY KEY, v text, flag boolean);
ALTER TABLE one ALTER v SET STORAGE EXTERNAL;
CREATE TABLE "Two's" (id int PRIMARY KEY, one int REFERENCES one);
CREATE TABLE whole (id int, v text);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE part (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
CREATE TABLE bare (id int);
CREATE TABLE made (id int, twice int GENERATED ALWAYS AS (id * 2) STORED PRIMARY KEY);
CREATE TABLE late (id int PRIMARY KEY DEFERRABLE);
CREATE TABLE wide (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE wide REPLICA IDENTITY FULL;
"""
_ALL = """one, "Two's", whole, part"""


def refused(journal: Journal, says: str) -> None:
    """Nothing begins, no slot is left, and the error says why."""
    with pytest.raises(JournalError) as caught:
        journal.drain()
    assert caught.value.code == "JOURNAL_PUBLICATION"
    assert says in caught.value.message
    with journal.scene.reader, journal.scene.reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE database = %s", (journal.scene.name,))
        assert cursor.fetchall() == [(0,)]


def seen(journal: Journal) -> JournalPublication:
    with journal.scene.connect() as session, reading(session) as query:
        return read_journal_publication(query)


def judged(journal: Journal) -> Iterator[Finding]:
    return (one for one in journal_publication.judge(seen(journal)) if isinstance(one, Finding))


def ended(report: DrainReport) -> list[tuple[JournalEnd, str]]:
    return [(end.reason, end.text) for _, end in report.ended]


@pytest.mark.parametrize("major", [14, 18])
def test_a_publication_with_a_part_of_what_changes_is_refused(make_journal: Callable[..., Journal], major: int) -> None:
    journal = make_journal(major, _TABLES, plugin="pgoutput")
    run = journal.scene.run
    wide = ("public.wide",)
    everything = ('public."Two\'s"', "public.one", "public.part", "public.whole", *(wide if major < 18 else ()))
    found = seen(journal)
    assert (found.exists, found.lacking, found.keyless, found.failing) == (
        False,
        everything,
        ("public.bare", "public.late", "public.made", *(wide if major >= 18 else ())),
        (),
    )
    cure = next(judged(journal)).cure or ""
    assert cure == f"CREATE PUBLICATION coffre FOR TABLE {', '.join(everything)};"
    refused(journal, "does not exist")

    parts = ["FOR ALL TABLES", "FOR TABLE one WITH (publish = 'insert')"]
    parts += ["FOR TABLE part WITH (publish_via_partition_root = true)"]
    parts += ["FOR TABLE one WHERE (id > 1)", "FOR TABLE one (id, v)"] if major >= 15 else []
    for part in parts:
        run(f"CREATE PUBLICATION coffre {part}")
        assert "The journal stores nothing" in next(judged(journal)).sentence
        run("DROP PUBLICATION coffre")
    run("CREATE PUBLICATION coffre FOR TABLE made")
    refused(journal, "whose key is generated")
    run("DROP PUBLICATION coffre", cure)
    assert (seen(journal).why, seen(journal).lacking, seen(journal).failing) == (None, (), ())
    run(*(f"INSERT INTO {name} VALUES (1)" for name in ("one", "late", "wide")))
    run(*(f"UPDATE {name} SET id = 2" for name in ("one", "late", "wide")))
    assert len(journal.drain().begun) == 1


@pytest.mark.parametrize("major", [14, 18])
def test_what_a_publication_has_is_followed_and_what_it_lacks_is_named(
    make_journal: Callable[..., Journal], major: int
) -> None:
    journal = make_journal(major, _TABLES, f"CREATE PUBLICATION coffre FOR TABLE {_ALL}", plugin="pgoutput")
    scene, run = journal.scene, journal.scene.run
    [note] = journal.drain().notes
    assert "does not have public.bare, public.late, public.made, public.wide:" in note
    [begun] = journal.intervals()
    assert (begun.plugin, begun.left_out) == (
        "pgoutput",
        ("public.bare", "public.late", "public.made", "public.wide"),
    )
    long = "repeat('it''s ', 3000)"
    run(f"INSERT INTO one SELECT i, {long}, i > 2 FROM generate_series(1, 4) i", "INSERT INTO whole VALUES (1, NULL)")
    scene.take_base()

    run("UPDATE one SET flag = NULL WHERE id = 1", "UPDATE one SET id = 10 WHERE id = 2", "INSERT INTO bare VALUES (1)")
    run("INSERT INTO whole VALUES (2, 'x'), (2, 'x')", "UPDATE whole SET v = '' WHERE id = 1")
    run("DELETE FROM whole WHERE ctid = (SELECT ctid FROM whole WHERE id = 2 LIMIT 1)")
    run("INSERT INTO part VALUES (1, 'a')", "DELETE FROM one WHERE id = 3")
    scene.session.autocommit = True
    with scene.session.cursor() as cursor:
        for statement in ("BEGIN", "INSERT INTO one VALUES (20)", "PREPARE TRANSACTION 'two'", "COMMIT PREPARED 'two'"):
            cursor.execute(statement)
    scene.session.autocommit = False
    run("INSERT INTO bare VALUES (4)")  # no transaction of the journal
    journal.catalog.journals.forget(journal.state)
    report = journal.drain()
    assert (ended(report), report.transactions, report.state.plugin) == ([], 6, "pgoutput")
    journal.replay_all()
    run("""INSERT INTO "Two's" VALUES (1, 1)""")
    run("TRUNCATE one CASCADE", "TRUNCATE part", "TRUNCATE bare")
    report = journal.drain()
    assert (ended(report), report.transactions) == ([], 2)
    assert {mark.name for mark in journal.segments()[-1].marks} == {"one", "Two's", "part_a"}
    journal.replay_all()

    # Another publication: what an open transaction has done until then is in no slot that exists.
    before = journal.state.slot
    open_one = scene.writer()
    with open_one.cursor() as cursor:
        cursor.execute("INSERT INTO bare VALUES (5)")
    run("ALTER PUBLICATION coffre ADD TABLE bare")
    with pytest.raises(JournalTransientError) as waits:
        journal.drain(remaining_seconds=lambda: 1.0)
    assert (waits.value.code, journal.end().reason) == ("JOURNAL_WAITS", JournalEnd.DEFINITIONS)
    open_one.commit()
    assert journal.drain().state.slot != before
    assert seen(journal).failing == ("public.bare",)
    with pytest.raises(psycopg2.Error, match="replica identity"):
        run("UPDATE bare SET id = 9")

    # Taken out and put back between two drains; gone; and another plugin.
    run("ALTER PUBLICATION coffre DROP TABLE one", "INSERT INTO one VALUES (30)")
    run("ALTER PUBLICATION coffre ADD TABLE one")
    assert ended(journal.drain()) == [(JournalEnd.DEFINITIONS, 'The publication "coffre" has changed.')]
    run("DROP PUBLICATION coffre", "INSERT INTO one VALUES (31)")
    refused(journal, "does not exist")
    assert journal.state.slot is None
    assert journal.drain(plugin="auto").state.plugin == "test_decoding"
    run(f"CREATE PUBLICATION coffre FOR TABLE {_ALL}")
    switched = "The plugin of the journal was test_decoding, and is pgoutput now."
    assert ended(journal.drain()) == [(JournalEnd.SWITCHED_OFF, switched)]
    assert ended(journal.drain(plugin="auto")) == []
