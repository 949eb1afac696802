"""A drill proves the journal: what it makes of an earlier base is compared with the base that is drilled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest
from tests.integration.contents import RoundTripOn, run
from tests.integration.drills import report_of, share_server
from tests.integration.journal_story import Story
from tests.integration.started import Started

from coffre.model.backup import Backup
from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.operations.drill import journal_proof
from coffre.operations.drill.table_groups import Course
from coffre.operations.journal.drain import drain
from coffre.operations.journal.switch_off import switch_off
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.journal import barriers
from coffre.postgres.journal.changes import lsn_text
from coffre.postgres.scratch.server import scratch_server
from coffre.vault.journal import intervals, read_segment, segment_keys
from coffre_local.postgres_server import PostgresServer


@pytest.fixture
def story(
    logical_server: Callable[[int], PostgresServer],
    round_trip_on: RoundTripOn,
    postgresql_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Story]:
    with scratch_server(PostgresTools(postgresql_home)) as server:
        share_server(monkeypatch, server)
        story = Story(
            round_trip_on(logical_server(18)), "CREATE TABLE plain (id int PRIMARY KEY)", "INSERT INTO plain VALUES (1)"
        )
        yield story
        switch_off(story.job)


def proof_of(story: Story, backup: Backup, started: Started) -> JournalProof:
    """Drill a backup, and return what it has proven of the journal."""
    answer = story.round_trip.coffre.drill(backup_id=backup.id)
    while answer["outcome"] == "continues":
        [event] = started.take()
        answer = story.round_trip.coffre.drill(**event)
    assert answer["outcome"] == "passed", answer
    proof = report_of(story.round_trip.coffre, backup).journal
    assert proof is not None
    assert story.round_trip.coffre.catalog.journal_proofs.of("shop")[0].verdict is proof.verdict
    return proof


def note(story: Story, backup: Backup) -> None:
    """Let a proof that ended with a backup be known."""
    base = story.round_trip.manifest(backup).database.journal
    assert base is not None
    proof = JournalProof(
        verdict=ProofVerdict.EQUAL,
        target="shop",
        drill_id="an earlier one",
        proven_at=datetime.now(UTC),
        newer=backup.id,
        until=base.at,
        interval=intervals(story.job.vault, "shop")[-1].id,
        to_lsn=base.lsn,
    )
    story.round_trip.coffre.catalog.journal_proofs.note(proof)


@contextmanager
def open_transaction(story: Story, statement: str) -> Iterator[None]:
    """Within the block a transaction is open that has changed something; it commits afterwards."""
    with closing(psycopg2.connect(story.source)) as session, session, session.cursor() as cursor:
        cursor.execute(statement)
        yield


def test_the_journal_is_proven_from_base_to_base_and_a_hole_in_it_is_found(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre, started = story.round_trip.coffre, Started()
    coffre.drill_function().services.__dict__["functions"] = started

    # What the earlier base does not see is applied, what the later one does not see is not: both commit in between.
    story.go_on()
    with open_transaction(story, "INSERT INTO noted (what) VALUES ('open at the first')"):
        first = story.round_trip.back_up(journal={})
    note(story, first)
    drain(story.job)
    story.go_on()
    run(story.source, "INSERT INTO cached DEFAULT VALUES")
    with open_transaction(story, "INSERT INTO noted (what) VALUES ('open at the second')"):
        second = story.round_trip.back_up(journal={})
    drain(story.job)
    # As if the time of the first invocation did not suffice for it.
    with monkeypatch.context() as patch:
        patch.setattr(Course, "fits", lambda course, *_: course.is_of_proof)
        proof = proof_of(story, second, started)
    assert report_of(coffre, second).invocations == 2
    assert (proof.verdict, proof.older, proof.tables) == (ProofVerdict.EQUAL, first.id, 6), proof
    said = "\n".join(proof.excluded)
    assert "public.cached are in no journal" in said
    assert "Sequences public.cached_id_seq are unlogged, so that no drain reads them." in said
    assert "Materialized views" in said
    assert (coffre.troubles(), started.events) == ([], [])

    # Rows that were written while the table was not logged are in no stream, as if no drain had noticed it.
    run(
        story.source,
        "TRUNCATE plain",
        "ALTER TABLE plain SET UNLOGGED",
        "INSERT INTO plain VALUES (2), (3)",
        "ALTER TABLE plain SET LOGGED",
    )
    with monkeypatch.context() as patch:
        patch.setattr(barriers, "_is_emptied", lambda *_: True)
        drain(story.job)
    # In groups of tables, as if they did not fit the disk together.
    monkeypatch.setattr(journal_proof, "groups_of", lambda content, _: [[*content.tables[:3]], [*content.tables[3:]]])
    third = story.round_trip.back_up(journal={})
    drain(story.job)
    assert intervals(story.job.vault, "shop")[-1].id == proof.interval
    proof = proof_of(story, third, started)
    assert (proof.verdict, proof.older) == (ProofVerdict.NOT_EQUAL, second.id)
    assert proof.differences == ("public.plain: 0 rows by the journal, 2 in the backup.",)
    [alert] = coffre.troubles()
    assert alert["MessageAttributes"]["kind"]["Value"] == "JOURNAL_NOT_EQUAL"
    assert "public.plain: 0 rows" in alert["Message"]
    # A restore between the two warns, and brings what there is.
    report = story.report(
        coffre.restore("latest", story.round_trip.copy, target="shop", at={"lsn": lsn_text(proof.to_lsn - 1)})
    )
    assert [note for note in report.notes if "WARNING: this moment may lack changes" in note]

    # What cannot be read is not said to be different.
    note(story, first)
    key = segment_keys(story.job.vault, "shop", proof.interval or "")[-1]
    [pack] = read_segment(story.job.vault, key, None)[0].packs
    coffre.put_object(pack.key, b"not what was stored")
    proof = proof_of(story, third, started)
    assert (proof.verdict, proof.differences) == (ProofVerdict.NOT_PROVEN, ())
    assert str(proof.why).endswith("[OBJECT_TRUNCATED]")
