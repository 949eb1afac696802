"""What a drain of a journal needs, and what it reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.catalog.journals import Journals
from coffre.model.errors import ConnectError, DestinationError
from coffre.model.journal import IntervalEnd, JournalGap, JournalState
from coffre.model.journal_options import PluginChoice
from coffre.model.manifest import JournalBase
from coffre.model.provider import Provider
from coffre.policy.journal_health import Guarding
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.create_database import maintenance_session
from coffre.postgres.connection.query_errors import explain_query_error
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Vault

_MIB: Final = 1 << 20


@dataclass(frozen=True)
class JournalJob:
    """One target's journal.

    Parameters
    ----------
    bases
        The bases of the target's completed backups, the newest first. Asked only while the open interval has none.
    ask_for_base
        Starts a backup, if none runs; gets the reason.
    now
        The clock of this process, for the records. Moments of the journal are by the server's.
    remaining_seconds
        Until this process ends.
    plugin, provider
        As the target's configuration says.
    report_end
        Hears of each interval that ends, with why and the gap that it leaves, as soon as it is written: what comes
        after it can fail.
    step_bytes
        Of WAL that one segment is made of, at most: the server keeps its text in temporary files meanwhile.
    """

    target: str
    connection: Connection
    vault: Vault
    encoder: FrameEncoder
    recipients: tuple[str, ...]
    journals: Journals
    bases: Callable[[], Sequence[JournalBase]]
    ask_for_base: Callable[[str], None]
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    guarding: Guarding = field(default=Guarding())
    plugin: PluginChoice = "auto"
    provider: Provider = "auto"
    report_end: Callable[[str, IntervalEnd, JournalGap], None] = lambda *_: None
    step_bytes: int = 128 * _MIB
    pause: Callable[[float], None] = time.sleep


@contextmanager
def opened(job: JournalJob) -> Iterator[psycopg2.extensions.connection]:
    """Open a session of the journal's database.

    Raises
    ------
    ConnectError, ConnectTransientError
        What `connect` raises; and what the server refuses later, which is not about the slot.
    """
    with connect(job.connection) as session:
        try:
            yield session
        except psycopg2.Error as error:
            raise explain_query_error(job.connection, error) from error


@contextmanager
def opened_at_server(job: JournalJob) -> Iterator[psycopg2.extensions.connection]:
    """Open a session of the journal's database, or of another one that shows its slot if that was renamed or dropped.

    Raises
    ------
    ConnectError, ConnectTransientError
        As `opened`.
    """
    with ExitStack() as stack:
        try:
            session = stack.enter_context(opened(job))
        except ConnectError as error:
            if error.code != "DATABASE_MISSING":
                raise
            try:
                session = stack.enter_context(maintenance_session(job.connection))
            except DestinationError:
                raise error from None
        yield session


@dataclass(frozen=True)
class DrainReport:
    """What a drain did.

    Parameters
    ----------
    state
        As the catalog has it afterwards.
    segments, transactions, lines, stored_bytes
        What was stored; nothing of a quiet database.
    is_complete
        Everything that was committed before `state.seen_at` is stored. Otherwise the time was over.
    begun
        The intervals that were begun.
    ended
        Those that ended, with why.
    notes
        Sentences for people.
    """

    state: JournalState
    segments: int = 0
    transactions: int = 0
    lines: int = 0
    stored_bytes: int = 0
    is_complete: bool = True
    begun: tuple[str, ...] = ()
    ended: tuple[tuple[str, IntervalEnd], ...] = ()
    notes: tuple[str, ...] = ()
