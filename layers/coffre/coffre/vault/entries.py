"""Entries: named things written as frames, and which packs those are in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, EntryKind, Frame, ObjectFacts, PackReference, RelationName
from coffre.vault.codec import Plaintext
from coffre.vault.pack import PackWriter
from coffre.vault.resumable_hash import ResumableSha256

# The plaintext of a frame: big enough that the age header (200 bytes a recipient) and zstd's start do not show, small
# enough that a change costs little in the next backup, and that zstd stays in the processor's cache. Readers must take
# any size up to 64 MiB.
FRAME_SIZE_BYTES: Final = 2 * 1024 * 1024
# Entries up to this size share solid frames, so that ten thousand small tables are not ten thousand frames.
SOLID_ENTRY_BYTES: Final = 128 * 1024
_SOLID_FRAME_BYTES: Final = 1024 * 1024


@dataclass
class Begun:
    """What is stored of an entry that an earlier invocation did not finish; `EntryWriter.add` keeps it up to date.

    It can be continued at the border of a frame, if the hash has a state there.
    """

    whole: ResumableSha256 = field(default_factory=ResumableSha256)
    frames: list[Frame] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many bytes are stored."""
        return sum(frame.size for frame in self.frames)


class EntryWriter:
    """Turns plaintext into entries of one part: hashes, cuts into frames, gathers small ones into solid frames.

    Parameters
    ----------
    packs
        Where new frames go.
    known
        Entries of the previous backup, by name: what is unchanged points at their frames and is not stored again.
    """

    def __init__(self, packs: PackWriter, known: Mapping[str, Entry] | None = None) -> None:
        self._packs = packs
        self._known = known or {}
        self._solid = bytearray()
        self._solid_alike: str | None = ""
        self._waiting: list[Entry] = []
        self.entries: list[Entry] = []

    def add(
        self,
        name: str,
        kind: EntryKind,
        chunks: Iterable[Plaintext],
        *,
        relation: RelationName | None = None,
        rows: Callable[[], int] | None = None,
        facts: Callable[[], ObjectFacts] | None = None,
        begun: Begun | None = None,
    ) -> Entry:
        """Store the plaintext of one entry and return it; one that waits in a solid frame has no frames yet.

        Parameters
        ----------
        name
            Unique in the backup.
        kind
            What the bytes are.
        chunks
            Pieces of at most `FRAME_SIZE_BYTES`, each valid until the next is asked for; a first piece of at most
            `SOLID_ENTRY_BYTES` must be the only one.
        relation
            The table, for table slices.
        rows
            Asked for the number of rows after the last piece.
        facts
            Asked for what a bucket says about the object after the last piece. Objects have nothing in common with
            each other: the frames themselves decide how they are compressed.
        begun
            Of an entry too large for solid frames: what is stored already. `chunks` are what follows. When they raise,
            it has what was stored until then.
        """
        previous = self._known.get(name)
        reusable = _own_frames(previous)
        whole = begun.whole if begun else hashlib.sha256()
        frames: list[Frame] = begun.frames if begun else []
        self._solid_alike = None if facts else ""
        size, start, is_solid = begun.size if begun else 0, 0, False
        alike = f"{relation.schema_name}.{relation.relation_name}" if relation else None if facts else name
        for chunk in chunks:
            if is_solid:
                raise ValueError(f"{name}: a small first piece was not the only one")
            whole.update(chunk)
            size += len(chunk)
            digest = whole.hexdigest() if size == len(chunk) else hashlib.sha256(chunk).hexdigest()
            if begun is None and not frames and len(chunk) <= SOLID_ENTRY_BYTES:
                is_solid = True
                if previous is not None and (previous.size, previous.sha256) == (size, digest):
                    frames, start = list(previous.frames), previous.start
                else:
                    start = self._add_to_solid(chunk)
            else:
                frames.append(reusable.get(digest) or self._packs.append(chunk, digest, alike))
        entry = Entry(
            name=name,
            kind=kind,
            size=size,
            sha256=whole.hexdigest(),
            rows=rows() if rows else None,
            relation=relation,
            object=facts() if facts else None,
            frames=tuple(frames),
            start=start,
        )
        (self._waiting if is_solid and not frames else self.entries).append(entry)
        return entry

    def close(self) -> list[Entry]:
        """Store the last solid frame and return all entries, sorted by name. The packs are the caller's to close."""
        self._flush_solid()
        self.entries.sort(key=lambda entry: entry.name)
        return self.entries

    def _add_to_solid(self, chunk: Plaintext) -> int:
        if len(self._solid) + len(chunk) > _SOLID_FRAME_BYTES:
            self._flush_solid()
        start = len(self._solid)
        self._solid += chunk
        return start

    def _flush_solid(self) -> None:
        if not self._waiting:
            return
        frame = self._packs.append(self._solid, hashlib.sha256(self._solid).hexdigest(), self._solid_alike)
        self.entries.extend(entry.model_copy(update={"frames": (frame,)}) for entry in self._waiting)
        self._waiting.clear()
        self._solid = bytearray()


def _own_frames(entry: Entry | None) -> dict[str, Frame]:
    """Return a large entry's frames by SHA-256; a solid frame, which it shares with others, is not among them."""
    if entry is None or sum(frame.size for frame in entry.frames) != entry.size:
        return {}
    return {frame.sha256: frame for frame in entry.frames}


def live_bytes(entry: Entry) -> Iterator[tuple[str, int]]:
    """Yield what an entry uses of each pack: of a solid frame its share."""
    if len(entry.frames) == 1 and entry.frames[0].size:
        (frame,) = entry.frames
        yield frame.pack, -(-frame.length * entry.size // frame.size)
    else:
        for frame in entry.frames:
            yield frame.pack, frame.length


def packs_of(entry: Entry) -> frozenset[str]:
    """Return the packs that an entry's frames are in."""
    return frozenset(frame.pack for frame in entry.frames)


def referenced(live: Mapping[str, int], packs: Mapping[str, PackReference]) -> tuple[PackReference, ...]:
    """Return the packs that entries point at, with what they use of each (`live`: bytes by key), sorted by key.

    Raises
    ------
    IntegrityError
        `PACKS_GONE`: some cannot be used any more, as an earlier invocation of the run could.
    """
    if gone := sorted(live.keys() - packs.keys()):
        raise IntegrityError(
            "What this backup wanted to share with an earlier one is gone or damaged since it began.",
            code="PACKS_GONE",
            detail=f"{len(gone)} packs, the first of them {gone[0]}" if len(gone) > 1 else gone[0],
            hint="Nothing was published. Take the backup again: it stores what is missing.",
        )
    return tuple(
        packs[key].model_copy(update={"live_bytes": min(used, packs[key].length)}) for key, used in sorted(live.items())
    )
