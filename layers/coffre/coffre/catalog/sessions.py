"""Sessions of the console: kept by the hash of what the browser has, so that each can be ended here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.console_items import SessionItem
from coffre.catalog.records import read_record, readable
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery, RawItem
from coffre.model.errors import IntegrityError
from coffre.model.session import Session

_PARTITION: Final = "SESSION"


class Sessions:
    """The sessions. DynamoDB deletes expired ones late: who reads one looks at its times."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def begin(self, session: Session) -> None:
        """Keep a new session."""
        fields = session.model_dump(exclude={"id", "groups"})
        item = SessionItem(
            pk=_PARTITION,
            sk=session.id,
            groups=list(session.groups),
            expires_at_epoch=math.ceil(session.expires_at.timestamp()),
            **fields,
        )
        self._table.put(item, SessionItem.pk.does_not_exist())

    def find(self, session_id: str) -> Session | None:
        """Return a session as it is at this instant, expired or not."""
        raw = self._table.get(_PARTITION, session_id)
        return _read(raw) if raw else None

    def seen(self, session: Session, now: datetime, *, every: timedelta) -> bool:
        """Record that a session is in use, at most once in a while; False: it was ended meanwhile."""
        if now - session.seen_at < every:
            return True
        try:
            self._table.update(_PARTITION, session.id, [SessionItem.seen_at.set(now)], SessionItem.pk.exists())
        except ConditionFailedError:
            return False
        return True

    def end(self, session_id: str) -> bool:
        """End a session; False: it was over."""
        try:
            self._table.delete(_PARTITION, session_id, SessionItem.pk.exists())
        except ConditionFailedError:
            return False
        return True

    def all(self, damaged: list[IntegrityError] | None = None) -> Iterator[Session]:
        """Yield every session, those too that are over and not deleted yet; what is `damaged`: see `readable`."""
        return readable(self._table.query(ItemQuery(_PARTITION)), _read, damaged)


def _read(raw: RawItem) -> Session:
    return read_record(raw, SessionItem, Session)
