"""What a restore of a database keeps in the vault while several invocations work on it."""

from __future__ import annotations

from coffre.model.confirmation import Facts
from coffre.model.document import Document
from coffre.model.names import TableName
from coffre.model.safety import Safety


class DatabaseState(Document):
    """What was confirmed: the state of the destination then, the tables that may change, and what holds both.

    `tables` is None when all may change. `safety` is about the backup of what is overwritten. `destination` is the
    place and the role that a person was shown; None: of a version that did not keep it.
    """

    facts: Facts
    tables: tuple[TableName, ...] | None = None
    safety: Safety | None = None
    destination: str | None = None
