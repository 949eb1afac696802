"""Which large objects a restore has written, and from where in their archive the next attempt has to read."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence

import psycopg2.extensions

from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.sessions import loading_session
from coffre.postgres.destination import marks
from coffre.postgres.source.large_objects import Piece


class ObjectMarks:
    """Marks of large objects, committed with what they are about. Thread-safe. Without marks it knows nothing.

    Each mark has the place up to which all objects were written when it was made (`from`). That of the last mark is
    where another attempt begins to read.
    """

    def __init__(self, job: RestoreJob, *, is_kept: bool) -> None:
        self._schema = job.marks_schema
        self._is_kept = is_kept
        self._lock = threading.Lock()
        self._open: Counter[int] = Counter()  # pieces that are being written, by the place of their object
        self._whole: set[int] = set()
        self._pieces: defaultdict[int, set[int]] = defaultdict(set)
        self._statements: set[str] = set()
        self.begun: set[int] = set()
        self.ended: set[int] = set()  # objects whose last piece was written
        self.lost: dict[int, str] = {}
        self.start = 0
        if is_kept:
            with loading_session(job) as session:
                self._read(session)

    def _read(self, session: psycopg2.extensions.connection) -> None:
        found = marks.read(session, marks.OBJECTS, self._schema)
        self.start = max((int(str(said["from"])) for said in found.values() if "from" in said), default=0)
        finished: dict[int, list[str]] = defaultdict(list)
        for name, said in found.items():
            if isinstance(oids := said.get("oids"), list):
                self._whole.update(oids)
            elif "piece" in said:
                oid, offset, place, is_last = _piece(said["piece"])
                if place < self.start:
                    finished[oid].append(name)
                else:
                    self._pieces[oid].add(offset)
                    self.ended |= {oid} if is_last else set()
            elif "begun" in said:
                self.begun.add(int(name.partition(" ")[0]))
            elif "lost" in said:
                self.lost[int(name.partition(" ")[0])] = str(said["lost"])
            else:
                self._statements.add(name)
        self._whole.update(finished)
        if finished:  # one mark for all of their pieces
            with session.cursor() as cursor:
                marks.remove(
                    cursor, marks.OBJECTS, [name for names in finished.values() for name in names], self._schema
                )
                whole: dict[str, marks.Said] = {str(oid): {"oids": [oid], "from": self.start} for oid in finished}
                marks.add(cursor, marks.OBJECTS, whole, self._schema)
        session.commit()

    @property
    def seen(self) -> set[int]:
        """The objects that need not be found in the archive again."""
        return self._whole | self.ended | self.lost.keys()

    def is_written(self, piece: Piece) -> bool:
        """Whether an earlier attempt has written a piece."""
        return piece.oid in self._whole or piece.offset in self._pieces.get(piece.oid, ())

    def are_executed(self, name: str) -> bool:
        """Whether an earlier attempt has executed a batch of statements."""
        return name in self._statements

    def opened(self, piece: Piece) -> None:
        """Know that a piece is going to be written."""
        with self._lock:
            self._open[piece.position] += 1

    def closed(self, batch: Sequence[Piece]) -> None:
        """Know that pieces were committed, or given up with a mark."""
        with self._lock:
            for piece in batch:
                self._open[piece.position] -= 1
                if not self._open[piece.position]:
                    del self._open[piece.position]

    def add(self, cursor: psycopg2.extensions.cursor, batch: Sequence[Piece]) -> None:
        """Mark pieces in the transaction that writes them."""
        if not self._is_kept:
            return
        with self._lock:
            all_until = min(self._open)
        first = batch[0]
        if first.is_whole:
            self._mark(cursor, str(first.oid), {"oids": [piece.oid for piece in batch], "from": all_until})
        else:
            said = [first.oid, first.offset, first.position, first.is_last]
            self._mark(cursor, f"{first.oid} {first.offset}", {"piece": said, "from": all_until})

    def add_begun(self, cursor: psycopg2.extensions.cursor, oid: int) -> None:
        """Mark in the transaction that creates an object that it exists."""
        self._mark(cursor, f"{oid} begun", {"begun": True})

    def add_lost(self, cursor: psycopg2.extensions.cursor, oid: int, reason: str) -> None:
        """Mark an object that is left out."""
        if self._is_kept:
            marks.replace(cursor, marks.OBJECTS, f"{oid} lost", {"lost": reason}, self._schema)

    def adding_executed(self, name: str) -> bytes:
        """Return the statement that marks a batch of statements as executed."""
        return marks.adding(marks.OBJECTS, {name: {}}, self._schema) if self._is_kept else b""

    def _mark(self, cursor: psycopg2.extensions.cursor, name: str, said: marks.Said) -> None:
        if self._is_kept:
            marks.add(cursor, marks.OBJECTS, {name: said}, self._schema)


def _piece(said: object) -> tuple[int, int, int, bool]:
    """Return the object, the offset in it, the place in the archive, and whether it is the last one, as marked."""
    oid, offset, place, is_last = said  # type: ignore[misc]
    return int(oid), int(offset), int(place), bool(is_last)  # type: ignore[has-type]
