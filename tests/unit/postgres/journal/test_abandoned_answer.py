"""An answer of the server that is left before its end."""

from __future__ import annotations

from itertools import repeat
from unittest.mock import MagicMock, patch

import psycopg2

from coffre.postgres.journal import slot_changes


def test_a_server_that_sends_on_is_not_read_without_limit() -> None:
    """Given a request to cancel that did not arrive, and an answer that is long."""
    session, asked = MagicMock(), iter(range(3))

    def check() -> None:
        if next(asked, None) is None:
            raise psycopg2.OperationalError("the server did not end a statement")

    with patch.object(slot_changes, "CancelRequest"), patch.object(slot_changes, "send_all"):
        slot_changes._end(session, repeat(memoryview(b"x"), 1000), check)

    session.close.assert_called_once_with()
