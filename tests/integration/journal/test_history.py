"""A server that has gone back in time is not continued, though everything about it looks the same."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

from tests.integration.journal_vault import Journal

from coffre.model.journal import JournalEnd
from coffre.operations.journal import repeated
from coffre.postgres.journal import slot


def test_what_the_server_sends_again_has_to_be_what_is_stored(make_journal: Callable[..., Journal]) -> None:
    journal = make_journal(18, "CREATE TABLE one (id int PRIMARY KEY)")
    journal.drain()
    journal.scene.run("INSERT INTO one VALUES (1)")
    journal.drain()

    def loses_its_advance(number: int) -> None:
        journal.scene.run(f"INSERT INTO one VALUES ({number})")
        with patch.object(slot, "advance"):
            assert journal.drain().ended == ()

    loses_its_advance(2)
    loses_its_advance(3)  # and the one before has come again
    assert journal.drain().ended == ()
    loses_its_advance(4)
    with patch.object(repeated, "outline", return_value=iter(())):  # its disk was put back: other commits come
        report = journal.drain()
    assert [end.reason for _, end in report.ended] == [JournalEnd.TIMELINE]
    assert "gone back in time" in report.ended[0][1].text
    assert journal.drain().ended == ()
