"""The moment that a person asks for, of a database whose journal is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from coffre.model.document import Document

# A day before or after fits the calendar too, whatever the zone.
_YEARS: Final = range(2000, 9999)


class Moment(Document):
    """One of: a time of the server's clock, a position in its WAL, or what was before a transaction.

    Parameters
    ----------
    time
        What was committed at exactly this time belongs to it.
    lsn
        As PostgreSQL writes it: `16/B374D848`. What ends at it belongs to it.
    before_transaction
        The transaction's number, as `txid_current()`, `xmin` or the server's log have it. It and all that was
        committed after it are left out.
    """

    time: AwareDatetime | None = None
    lsn: str | None = Field(default=None, pattern="^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$")
    before_transaction: int | None = Field(default=None, ge=3, lt=1 << 63)

    @field_validator("time", mode="before")
    @classmethod
    def _is_written(cls, time: object) -> object:
        """Take what PostgreSQL prints, too: `2026-11-27 14:29:30+00`."""
        try:
            return datetime.fromisoformat(time) if isinstance(time, str) else time
        except ValueError:
            return time

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if [self.time, self.lsn, self.before_transaction].count(None) != 2:
            raise ValueError("at needs one of time, lsn and before_transaction")
        if self.time is not None and self.time.year not in _YEARS:
            raise ValueError(f"a time of the year {self.time.year} is no moment of a journal")
        return self

    def __str__(self) -> str:
        if self.time is not None:
            return f"{self.time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC"
        return self.lsn or f"before the transaction {self.before_transaction}"

    @property
    def option(self) -> str:
        """How the command is given it."""
        if self.time is not None:
            return f'--at "{self.time.astimezone(UTC).isoformat(sep=" ")}"'
        return f"--at-lsn {self.lsn}" if self.lsn else f"--before-transaction {self.before_transaction}"
