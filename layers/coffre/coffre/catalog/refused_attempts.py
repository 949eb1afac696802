"""How often requests of one origin were refused lately: counters that forget themselves."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.console_items import AttemptItem
from coffre.catalog.tables import ConditionFailedError, DynamoTable

_PARTITION: Final = "ATTEMPT"


class Attempts:
    """The counters."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def count(self, origin: str, now: datetime, *, window: timedelta) -> int:
        """Count one attempt, and return which one of the current window it is, from 1.

        Parameters
        ----------
        origin
            Whose attempts are counted together: an address, a key's id, a caller's name.
        """
        seconds = int(window.total_seconds())
        number = int(now.timestamp()) // seconds
        sort = f"{number}#{hashlib.sha256(origin.encode()).hexdigest()}"
        item = AttemptItem(pk=_PARTITION, sk=sort, refused=1, expires_at_epoch=(number + 2) * seconds)
        try:
            self._table.put(item, AttemptItem.pk.does_not_exist())
        except ConditionFailedError:
            more = [AttemptItem.refused.add(1)]
            raw = self._table.update(_PARTITION, sort, more, AttemptItem.pk.exists())
            return int(raw["refused"]["N"])
        return 1
