"""How the rows of tables are loaded: where they go, in which order, and what is one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import RestoreError
from coffre.model.manifest import Entry, TableContent
from coffre.model.names import TableName
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.load_transactions import Unit, is_small, whole_tables
from coffre.operations.restore_database.report_builder import ReportBuilder

# What a restore loads is safe once its last transaction is, which waits for the disk; waiting after every slice too
# would only take time.
FAST_COMMITS: Final = "SET synchronous_commit = off"
# What one transaction loads has to fit into what a function lives: 2 GiB take 400 seconds of a stream of 5 MB/s.
LARGEST_WHOLE_BYTES: Final = 2 * 1024 * 1024 * 1024
# No function was seen to restore as much in a second: what does not fit at this rate does not fit.
_MOST_BYTES_A_SECOND: Final = 200_000_000
# Smaller tables are loaded by one stream in any case.
_SMALL_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Share:
    """A load that several invocations do together, and which of them this one is.

    Parameters
    ----------
    sharing
        The id of the load, which its mark at the destination has.
    number, width
        This one's number, from 0, and how many there are. What is whose only says where each begins.
    streams
        Connections of all of them together.
    sliced
        Tables of which some slices were loaded before, and so are not emptied.
    """

    sharing: str
    number: int
    width: int
    streams: int
    sliced: frozenset[TableName] = frozenset()

    def is_own(self, slices: Sequence[Entry]) -> bool:
        """Whether this invocation is the first that looks at the slices of a transaction."""
        return crc32(slices[0].name.encode()) % self.width == self.number


@dataclass(frozen=True)
class Loading:
    """How rows are loaded.

    Parameters
    ----------
    into
        Where the rows of a table go, by its name in the backup; default: a table of the same name.
    where
        Only rows for which this is true. The counts are then not the backup's.
    order
        Tables with a lower number are loaded before those with a higher one; default: all at the same time.
    first_statement
        Executed in every session.
    is_fresh
        No session uses the tables yet, and nothing points at them: those that one stream can load alone without working
        longer than the others (`whole_tables`) are each loaded in one transaction, frozen, so that neither indexing nor
        a later vacuum has to write their rows again. Small ones share a transaction, and are not frozen.
    in_order
        With `is_fresh`: every table is loaded in one transaction, slice after slice, so that its rows lie in the order
        in which they were backed up.
    session
        Load over this session alone, one table after the other, and leave its transaction open. What is refused is
        rolled back to a savepoint.
    report
        Where tables are reported whose rows are refused or damaged: they stay empty, and the others are loaded. Without
        it the first one ends the restore. Not together with `into` and `where`.
    is_alone
        With `report`: everything in the database is the restore's own, so that what tables share (domains, checks of
        their parents) may be loosened to load their rows.
    search_paths
        Returns the source's own for a table: what was refused is tried with them too.
    is_marked
        What is loaded is marked, in the transaction that loads it; what has a mark is loaded.
    taken
        The columns that a table takes, where it does not take all of the backup's.
    share
        With `is_marked`: other invocations load the same tables at the same time.
    """

    into: Mapping[TableName, TableName] = field(default_factory=dict)
    where: sql.Composable | None = None
    order: Mapping[TableName, int] = field(default_factory=dict)
    first_statement: str = FAST_COMMITS
    is_fresh: bool = False
    in_order: bool = False
    session: psycopg2.extensions.connection | None = None
    report: ReportBuilder | None = None
    is_alone: bool = False
    search_paths: Callable[[TableName], Sequence[str]] = field(default=lambda _: ())
    taken: Mapping[TableName, Sequence[str]] = field(default_factory=dict)
    is_marked: bool = False
    share: Share | None = None


def refuse_too_large(job: RestoreJob, size_bytes: int, what: str) -> None:
    """Refuse, before anything is changed, what has to fit into one invocation and cannot.

    Parameters
    ----------
    size_bytes
        Of the rows or large objects, as they are in a backup before they are compressed.
    what
        They, as the subject of a sentence in the plural.

    Raises
    ------
    RestoreError
        `RESTORE_TOO_LARGE`
    """
    seconds = job.remaining_seconds()
    if size_bytes > seconds * _MOST_BYTES_A_SECOND:
        raise RestoreError(
            f"{what} have {size_bytes / 1e9:,.1f} GB. They are restored within one invocation of the function, which "
            f"has {seconds / 60:.0f} minutes left.",
            code="RESTORE_TOO_LARGE",
            hint="Nothing was changed. The same command with --here runs on this machine, without a time limit. All "
            "restores but a --replace inside a database take as many invocations as they need, if the function may run "
            "for two minutes or more, and the role may create a schema in the database.",
        )


def shared_tables(places: Mapping[TableName, TableName], how: Loading) -> Iterator[TableName]:
    """Yield the tables whose rows do not have a place of their own."""
    taken = Counter(places.values())
    return (name for name, place in places.items() if taken[place] > 1 or place not in (name, how.into.get(name)))


def units_of(job: RestoreJob, tables: Mapping[TableName, TableContent], how: Loading) -> dict[TableName, Unit]:
    """Decide what of each table is loaded in one transaction."""
    if how.in_order or (how.report is not None and not how.is_fresh):
        # Without marks, what was committed of a table could not be distinguished from rows of others.
        is_divided = how.is_marked and not how.in_order
        whole = {name for name, table in tables.items() if not (is_divided and table.size > LARGEST_WHOLE_BYTES)}
    elif how.is_fresh:
        most = LARGEST_WHOLE_BYTES if how.is_marked else max((table.size for table in tables.values()), default=0)
        sizes = {name: table.size for name, table in tables.items() if table.size <= most}
        streams = how.share.streams if how.share is not None else job.streams
        whole = set(whole_tables(sizes, streams, _SMALL_BYTES))
    else:
        whole = set()
    # Only into a table that its own transaction has emptied rows go one behind the other.
    shares = {name: is_small(table) and not how.in_order for name, table in tables.items()}
    units = {
        name: Unit.SMALL_TABLES if shares[name] else Unit.TABLE if name in whole else Unit.SLICE for name in tables
    }
    return units | dict.fromkeys(how.share.sliced & tables.keys() if how.share is not None else (), Unit.SLICE)


def groups_of(
    tables: Mapping[TableName, TableContent], order: Mapping[TableName, int]
) -> Iterator[frozenset[TableName]]:
    """Yield the names of tables that are loaded at the same time."""
    for number in sorted({order.get(name, 0) for name in tables}):
        yield frozenset(name for name in tables if order.get(name, 0) == number)
