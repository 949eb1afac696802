"""What other cuts would store in the thirty days of `incremental`: a study of granularity and order.

Tables are cut by heap blocks (as Coffre does: 256 blocks) or by ranges of the primary key, coarse to fine. A day stores
the pieces whose text is not that of the piece with the same number on the day before, compressed together in frames of
2 MiB; what lists and hashes of pieces take is not counted, which flatters the fine ones. The last column stores single
rows: those written since the day before, and a bit for each old row that tells whether it is still there.
"""

from __future__ import annotations

import argparse
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

import psycopg2
import psycopg2.extensions
from backports import zstd

from benchmarks.harness import progress
from benchmarks.incremental import APPEND, CREATE, SCENARIOS, day_of
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_FRAME_BYTES: Final = 2 * 1024 * 1024
_BLOCKS: Final = (256, 16, 4, 1)
_KEYS: Final = (16384, 1024, 64)


class Row(NamedTuple):
    """A row as `COPY` text, where it is, and its key."""

    place: bytes
    block: int
    key: int
    text: bytes


@dataclass
class Scheme:
    """One way to cut, and what it has stored so far."""

    name: str
    piece_of: Callable[[Row], int]
    by_key: bool
    stored: int = 0
    hashes: dict[int, bytes] = field(default_factory=dict)

    def back_up(self, rows: Iterable[Row]) -> None:
        """Store what changed; the rows are in the scheme's order."""
        changed, hashes = [], {}
        for piece, members in groupby(rows, key=self.piece_of):
            text = b"".join(row.text for row in members)
            hashes[piece] = hashlib.sha256(text).digest()
            if self.hashes.get(piece) != hashes[piece]:
                changed.append(text)
        self.hashes = hashes
        self.stored += _compressed(changed)


def schemes() -> list[Scheme]:
    """Return the ways to cut that are compared."""
    by_block = [Scheme(f"{n} blocks", lambda row, n=n: row.block // n, by_key=False) for n in _BLOCKS]  # type: ignore[misc]
    by_key = [Scheme(f"{n} keys", lambda row, n=n: row.key // n, by_key=True) for n in _KEYS]  # type: ignore[misc]
    return by_block + by_key


def _compressed(texts: Iterable[bytes]) -> int:
    """Return the size of texts, one after another, in compressed frames."""
    total, frame = 0, bytearray()
    for text in texts:
        frame += text
        if len(frame) >= _FRAME_BYTES:
            total += len(zstd.compress(frame, level=3))
            frame.clear()
    return total + (len(zstd.compress(frame, level=3)) if frame else 0)


def _rows(cursor: psycopg2.extensions.cursor) -> Iterator[Row]:
    text = io.BytesIO()
    cursor.copy_expert("COPY (SELECT ctid, * FROM events) TO STDOUT", text)
    text.seek(0)
    for line in text:
        place, _, rest = line.partition(b"\t")
        yield Row(place, int(place[1 : place.index(b",")]), int(rest[: rest.index(b"\t")]), rest)


def _single_rows(before: Sequence[Row], now: Sequence[Row]) -> int:
    """Return what a day takes that stores rows: the new versions, and which of the old ones are gone."""
    old, new = {(row.place, row.text) for row in before}, {(row.place, row.text) for row in now}
    gone = bytes((row.place, row.text) not in new for row in before)
    bits = int(gone.hex()[1::2] or "0", 2).to_bytes(len(gone) // 8 + 1)
    return _compressed(row.text for row in now if (row.place, row.text) not in old) + len(zstd.compress(bits, level=19))


def study(url: str, changes: Sequence[str], rows: int, days: int) -> tuple[list[Scheme], int, int]:
    """Return the schemes with what they stored, what single rows took, and one full backup of the last day."""
    session = psycopg2.connect(url)
    session.autocommit = True
    compared, before, alone = schemes(), list[Row](), 0
    with session.cursor() as cursor:
        cursor.execute(CREATE)
        for day in range(days):
            progress(f"  day {day + 1}")
            for statement in changes if day else [APPEND]:
                cursor.execute(statement, day_of(day, rows))
            cursor.execute("VACUUM events")
            now = list(_rows(cursor))
            sorted_rows = sorted(now, key=lambda row: row.key)
            for scheme in compared:
                scheme.back_up(sorted_rows if scheme.by_key else now)
            alone += _single_rows(before, now)
            before = now
    session.close()
    return compared, alone, _compressed(row.text for row in before)


def main() -> None:
    """Run the scenarios and print a table each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    home = Toolchain(on_step=progress).postgresql(18)
    print(f"{arguments.days} days, {arguments.rows:,} rows on the first day; all days against one full backup\n")
    print("| database | " + " | ".join(scheme.name for scheme in schemes()) + " | single rows |")
    print("|---|" + "---:|" * (len(schemes()) + 1))
    for name, changes in SCENARIOS.items():
        progress(name)
        with PostgresServer(home) as server:
            found, alone, full = study(server.create_database("bench"), changes, arguments.rows, arguments.days)
        ratios = [*(scheme.stored / full for scheme in found), alone / full]
        print(f"| {name} | " + " | ".join(f"{one:.2f}" for one in ratios) + " |", flush=True)


if __name__ == "__main__":
    main()
