"""A drill proves the journal: what it makes of an earlier base is compared with the base that is drilled."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.integration.contents import RoundTripOn, run
from tests.integration.drills import report_of, share_server
from tests.integration.journal.test_moment import Story

from coffre.model.backup import Backup
from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.operations.journal.drain import drain
from coffre.operations.journal.switch_off import switch_off
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.scratch.server import ScratchServer, scratch_server
from coffre_local.postgres_server import PostgresServer


@pytest.fixture
def story(
    logical_server: Callable[[int], PostgresServer],
    round_trip_on: RoundTripOn,
    postgresql_home: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Story]:
    with scratch_server(PostgresTools(postgresql_home)) as server:
        share_server(monkeypatch, server)
        story = Story(round_trip_on(logical_server(18)))
        yield story
        switch_off(story.job)


def proof_of(story: Story, backup: Backup) -> JournalProof:
    """Drill a backup, and return what it has proven of the journal."""
    answer = story.round_trip.coffre.drill(backup_id=backup.id)
    assert answer["outcome"] == "passed", answer
    proof = report_of(story.round_trip.coffre, backup).journal
    assert proof is not None
    assert story.round_trip.coffre.catalog.journal_proofs.of("shop")[0].verdict is proof.verdict
    return proof


def test_it(story: Story) -> None:
    alone = proof_of(story, story.base)
    assert (alone.verdict, alone.older) == (ProofVerdict.NOT_PROVEN, None)
    story.go_on()
    drain(story.job)
    story.go_on()
    second = story.round_trip.back_up(journal={})
    print(proof_of(story, second))
    drain(story.job)
    story.go_on()
    print(proof_of(story, second))
