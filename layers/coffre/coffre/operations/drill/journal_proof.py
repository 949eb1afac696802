"""The proof of a journal: an earlier base and its changes are restored, and compared with the base that was drilled."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import psycopg2

from coffre.model.errors import CoffreError, JournalError
from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.model.restore import Scope
from coffre.operations.drill.group import Invocation
from coffre.operations.drill.journal_pair import Pair, words_of
from coffre.operations.drill.journal_tables import hash_tables
from coffre.operations.drill.restorable_subset import for_drill, groups_of, rows_alone
from coffre.operations.drill.scratch_servers import drop, room_bytes, stand_ins
from coffre.operations.drill.table_groups import Course
from coffre.operations.restore_database.job import RestoreJob, Source, open_source
from coffre.operations.restore_database.report_builder import ReportBuilder as Restored
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.policy.journal_proof import behind, by_name, goes_back, is_read_later, values_by_journal
from coffre.postgres.journal.definitions_document import parse_definitions
from coffre.postgres.journal.row_hashes import Directions, read_directions, rows_of
from coffre.vault.journal import read_definitions_of

_NO_TIME: Final = "it did not fit into the time of a function: coffre verify --level drill BACKUP --here has no limit"
_MOST_NAMES: Final = 20
# Changes that are applied in a second, by far too few rather than too many.
_CHANGES_A_SECOND: Final = 10_000
# What says that the rows of the earlier base are not what the journal continues.
_NOT_EQUAL: Final = ("JOURNAL_DIVERGED", "JOURNAL_UNKNOWN_TABLE", "JOURNAL_NO_IDENTITY")


def prove_journal(here: Invocation, course: Course, pair: Pair) -> bool:
    """Restore the earlier base with its changes and compare it; what came of it is in what was found.

    Nothing that goes wrong here says anything about the backup. Returns whether it is done: False, if another
    invocation has more time for it.
    """
    course.begin_proof(here.found)
    proof = _Proof(here, course, pair)
    proof.take_up()
    here.found.journal = proof.result(_NO_TIME)
    if here.found.problems:
        here.found.journal = proof.result("the backup that it is compared with is not as it was backed up")
        return True
    try:
        with here.found.phase("journal"):
            is_done = proof.run()
    except (CoffreError, psycopg2.Error) as error:
        here.job.children.check()
        with suppress(CoffreError):
            drop(here.server)
        if _is_against(error):
            proof.differences.append(words_of(error))
            here.found.journal = proof.result()
        else:
            here.found.journal = proof.result(words_of(_explained(here, error)))
        return True
    if not is_done:
        if course.may_continue_proof:
            return False
        here.found.journal = proof.result(None if proof.differences else _NO_TIME)
        return True
    here.found.journal = proof.result()
    return True


@dataclass
class _Proof:
    """The comparison of a pair, which grows from group to group of tables."""

    here: Invocation
    course: Course
    pair: Pair
    tables: int = 0
    differences: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    directions: Directions | None = None

    def take_up(self) -> None:
        """Begin with what an earlier invocation has compared."""
        found = self.here.found
        if found.journal is None or found.journal.older != self.pair.older.id:
            found.compared.clear()
        elif found.compared:
            self.tables = found.journal.tables
            self.differences, self.excluded = [*found.journal.differences], [*found.journal.excluded]

    def run(self) -> bool:
        """Compare group after group, then the sequences; False: there is no time for the next group."""
        found = self.here.found
        restore = self._restore_job()
        source = self._source(restore)
        wanted = self._comparable(restore, source)
        older = {(one.schema_name, one.table_name): one for one in source.content.tables}
        left = tuple(table for name, table in wanted.items() if shown(*name) not in found.compared)
        room = room_bytes(self.here.server)
        if self.course.is_of_proof:  # what does not fit one invocation is divided
            room = min(room, self.course.bytes_in(self._seconds()))
        for group in groups_of(self.here.source.content.model_copy(update={"tables": left}), room):
            if not self.course.fits(group, self._seconds()):
                return False
            part = {(one.schema_name, one.table_name): older[one.schema_name, one.table_name] for one in group}
            self._compare(restore, rows_alone(source, part.values()), part)
            found.compared += [shown(*name) for name in part]
            found.journal = self.result(_NO_TIME)
            self.course.proven(found)
        self._compare_sequences(source)
        return True

    def _seconds(self) -> float:
        """Return the time that is left for rows: each group has all segments applied."""
        lines = sum(segment.lines for segment in self.pair.chosen.segments)
        return self.here.job.remaining_seconds() - lines / _CHANGES_A_SECOND

    def result(self, why: str | None = None) -> JournalProof:
        """Return what there is to say so far; `why` something is left to be proven."""
        here, chosen = self.here, self.pair.chosen
        verdict = ProofVerdict.NOT_EQUAL if self.differences else ProofVerdict.EQUAL
        if verdict is ProofVerdict.EQUAL and why is not None:
            verdict = ProofVerdict.NOT_PROVEN
        return JournalProof(
            verdict=verdict,
            target=here.job.backup.target,
            drill_id=here.job.id,
            proven_at=here.job.now(),
            newer=here.job.backup.id,
            until=self.pair.newer.at,
            interval=chosen.interval.id,
            older=self.pair.older.id,
            since=chosen.base.at,
            from_lsn=chosen.base.lsn,
            to_lsn=self.pair.newer.lsn,
            segments=len(chosen.segments),
            tables=self.tables,
            differences=tuple(self.differences),
            excluded=tuple(self.excluded),
            why=why if verdict is ProofVerdict.NOT_PROVEN else None,
        )

    def _restore_job(self) -> RestoreJob:
        scratch = self.here.job.scratch / "earlier"
        scratch.mkdir(exist_ok=True)
        return replace(self.here.restore, backup=self.pair.older, scratch=scratch, scope=Scope(analyze=False))

    def _source(self, restore: RestoreJob) -> Source:
        """Open the earlier base, without what a drill cannot restore."""
        source = open_source(restore)
        _, impossible = stand_ins(self.here.server, source.toc)
        return replace(for_drill(source, impossible)[0], chosen=self.pair.chosen)

    def _comparable(self, restore: RestoreJob, source: Source) -> dict[TableName, TableContent]:
        """Return the tables that can be compared, as the backup that is drilled has them, and name all others."""
        hashes, chosen = self.here.found.row_hashes, self.pair.chosen
        decoder = restore.decoder.of_recipients(chosen.interval.recipients)
        followed = parse_definitions(read_definitions_of(restore.vault, chosen.interval, decoder)).tables
        older = {(one.schema_name, one.table_name): one for one in source.content.tables}
        found = dict[TableName, TableContent]()
        lost, unlogged = list[TableName](), list[TableName]()
        for table in self.here.source.content.tables:
            name = table.schema_name, table.table_name
            if name not in followed:
                unlogged.append(name)
            elif shown(*name) not in hashes or name not in older or older[name].rows_excluded:
                lost.append(name)
            else:
                found[name] = table
        self._exclude("are in no journal", unlogged)
        self._exclude("could not be restored and hashed here for both bases, or the configuration excludes them", lost)
        content = self.here.source.content
        if self.here.source.large_objects is not None:
            self._say("Large objects are in no journal.")
        if content.materialized_views:
            self._say("Materialized views are computed from the tables.")
        return found

    def _exclude(self, why: str, names: Collection[TableName], what: str = "Rows of") -> None:
        if names:
            more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
            listed = ", ".join(shown(*name) for name in sorted(names)[:_MOST_NAMES])
            self._say(f"{what} {listed}{more} {why}.")

    def _say(self, excluded: str) -> None:
        if excluded not in self.excluded:
            self.excluded.append(excluded)

    def _compare(self, restore: RestoreJob, part: Source, tables: dict[TableName, TableContent]) -> None:
        """Restore some tables of the earlier base, apply the journal, and compare their rows."""
        restored = Restored(self.here.found.meter)
        restore_whole(restore, part, restored)
        there = {table.table for table in restored.tables}
        own = hash_tables(restore, {name: table for name, table in tables.items() if shown(*name) in there})
        expected = self.here.found.row_hashes
        self._exclude("could not be restored and hashed for the earlier base", _without(tables, own))
        for name, hashed in own.items():
            self.tables += 1
            if hashed != expected[name]:
                self.differences.append(_difference(name, rows_of(hashed), rows_of(expected[name])))
        if self.directions is None:
            with loading_session(restore) as session:
                self.directions = read_directions(session)
        drop(self.here.server)

    def _compare_sequences(self, source: Source) -> None:
        """Compare the values that the journal gives with those of the backup: less is not equal."""
        directions = self.directions or Directions(frozenset(), frozenset(), frozenset())
        manifest, own = self.here.source.manifest, source.content.sequences
        values = by_name(manifest.database.sequences)
        left_out = directions.cycling | directions.unlogged
        wanted = {name: value for name, value in values.items() if name not in left_out}
        self._exclude("are unlogged, so that no drain reads them", values.keys() & directions.unlogged, "Sequences")
        known = values_by_journal(self.pair.stretch, self.pair.chosen, own)
        late = list(behind(wanted, known, directions.descending))
        if late and not is_read_later(self.pair.stretch, manifest.completed_at):
            names = [name for name, _, _ in late]
            self._exclude("have values that no drain has read since the backup", names, "Sequences")
            return
        read = [*(by_name(own if one is None else one) for one in self.pair.chosen.earlier), *known]
        gone_back = [name for name, _, _ in late if goes_back(name, read, directions.descending)]
        self._exclude("were set back around the backup", gone_back, "Sequences")
        for name, value, newest in late:
            if name in gone_back:
                continue
            has = "none" if newest is None else f"{newest.last_value:,}"
            self.differences.append(
                f"The sequence {shown(*name)} is at {value.last_value:,} in the backup, by the journal at {has}."
            )


def _without(tables: Iterable[TableName], hashes: dict[str, str]) -> list[TableName]:
    return [name for name in tables if shown(*name) not in hashes]


def _difference(name: str, rows: int, expected: int) -> str:
    if rows == expected:
        return f"{name}: {rows:,} rows on both sides, and some of them differ."
    return f"{name}: {rows:,} rows by the journal, {expected:,} in the backup."


def _is_against(error: Exception) -> bool:
    """Whether an error says that the journal does not fit the rows of its base, and not that it cannot be read here."""
    if not isinstance(error, JournalError):
        return False
    refused = error.code == "JOURNAL_REPLAY" and isinstance(error.__cause__, psycopg2.IntegrityError)
    return refused or error.code in _NOT_EQUAL


def _explained(here: Invocation, error: Exception) -> Exception:
    """Tell a place that is too small from everything else."""
    try:
        here.server.refuse_impossible(error)
    except CoffreError as impossible:
        return impossible
    return error
