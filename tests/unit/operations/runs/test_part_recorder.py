"""What a run has stored is recorded once, as soon as its packs are stored, and never fails the run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.vault.test_history import LENGTH, _entry

from coffre.model.backup import Backup, Status, Tier
from coffre.model.errors import DeadlineError, StoreError
from coffre.model.manifest import Entry, PackReference
from coffre.operations.runs import part_recorder
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.part_recorder import Packed, PartRecorder, seconds_to_wait
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.stores.directory import DirectoryStore
from coffre.vault.entries import EntryWriter
from coffre.vault.entry_lines import pack_lines, write_lines
from coffre.vault.pack import PackWriter
from coffre.vault.part_records import read_part, recorded_parts
from coffre.vault.vault import Vault

RUN = "01K9X0000000000000000000AB"


@dataclass
class Packs:
    """What the recorder looks at of a writer of packs."""

    packs: list[PackReference] = field(default_factory=list)


@dataclass
class Writer:
    """What it looks at of a writer of entries."""

    entries: list[Entry] = field(default_factory=list)


@dataclass
class Scene:
    scratch: Path
    vault: Vault
    known: dict[int, str] = field(default_factory=dict)

    def recorder(self, *, has_catalog: bool = True, first_number: int = 0) -> PartRecorder:
        now = datetime(2026, 11, 28, tzinfo=UTC)
        backup = Backup(id=RUN, target="shop", tiers=(Tier.MANUAL,), status=Status.IN_PROGRESS, created_at=now)
        meter = Meter()
        watch = Watch(meter, beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=lambda: None)
        recorded = self.known.__setitem__ if has_catalog else None
        run = Run(backup, meter, watch, lambda: (), lambda _: None, recorded)
        return PartRecorder(self.vault, (), run, first_number=first_number)

    def recorded(self, from_number: int = 0) -> list[list[str]]:
        """The names in each record."""

        def names(number: int) -> Iterator[str]:
            part, _ = read_part(self.vault, "shop", RUN, number, self.scratch, sha256=self.known[number])
            for line in part.entries.read_bytes().splitlines():
                entry = Entry.model_validate_json(line)
                assert {frame.pack for frame in entry.frames} <= {pack.key for pack in part.packs}
                yield entry.name

        return [list(names(one)) for one in recorded_parts(self.vault, "shop", RUN) if one >= from_number]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    for name in ("vault", "scratch"):
        (tmp_path / name).mkdir()
    return Scene(tmp_path / "scratch", Vault(DirectoryStore(tmp_path / "vault")))


def pack(number: int) -> PackReference:
    key = f"v1/packs/{RUN}/{number:06d}-00000000-0000"
    return PackReference(key=key, length=LENGTH, sha256="0" * 64, live_bytes=LENGTH)


def begin(recorder: PartRecorder, number: int) -> tuple[Packs, Writer]:
    packs, writer = Packs(), Writer()
    recorder.begin(number, cast(PackWriter, packs), cast(EntryWriter, writer))
    return packs, writer


def test_an_entry_is_recorded_once_when_its_pack_is_stored(scene: Scene) -> None:
    recorder = scene.recorder()
    packs, writer = begin(recorder, 2)
    writer.entries += [_entry("tables/c", pack(1)), _entry("tables/b", pack(2))]
    recorder._record()
    assert scene.recorded() == []

    packs.packs += [pack(2)]
    recorder._record()
    recorder._record()
    assert scene.recorded() == [["tables/b"]]

    # And what is left of the part when it is finished
    packs.packs += [pack(1)]
    file = scene.scratch / "entries"
    write_lines([_entry("tables/b", pack(2)), _entry("tables/c", pack(1))], file)
    recorder.finish(2, file)
    recorder._record()
    recorder._record()
    assert scene.recorded() == [["tables/b"], ["tables/c"]]


def test_a_hand_over_does_not_wait_for_all_records(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_RECORD_BYTES", 1), ("_FLUSH_SECONDS", 0.0)):
        monkeypatch.setattr(part_recorder, name, value)
    recorder = scene.recorder()
    packs, writer = begin(recorder, 1)
    packs.packs.append(pack(1))
    writer.entries += [_entry(f"tables/{index}", pack(1)) for index in range(3)]

    recorder.flush()
    assert len(scene.recorded()) == 1
    recorder._record()
    assert len(scene.recorded()) == 3


def test_parts_are_recorded_in_the_order_of_their_names_and_in_records_that_are_not_large(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_recorder, "_RECORD_BYTES", 500)
    recorder = scene.recorder()
    for number in (3, 1, 2):
        packs, writer = begin(recorder, number)
        packs.packs.append(pack(number))
        writer.entries += [_entry(f"tables/{number}/{index}", pack(number)) for index in (1, 0)]

    recorder._record()

    assert scene.recorded() == [
        ["tables/1/0", "tables/1/1"],
        ["tables/2/0", "tables/2/1"],
        ["tables/3/0", "tables/3/1"],
    ]


def test_frames_of_earlier_runs_are_named_with_their_packs(scene: Scene) -> None:
    recorder = scene.recorder()
    old = pack(7).model_copy(update={"key": pack(7).key.replace(RUN, RUN[:-1] + "C")})
    recorder.begin_plan({old.key: old})
    _, writer = begin(recorder, 1)
    writer.entries.append(_entry("tables/a", old))

    recorder._record()

    assert scene.recorded() == [["tables/a"]]


class Racing(part_recorder._Source):
    """A part that ends while its record is made: right after one of its attributes was read."""

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name in {"file", "packed", "writer", "packs"}:
            reads = object.__getattribute__(self, "__dict__")
            reads["left"] = reads.get("left", type(self).ends_after) - 1
            if reads["left"] == 0:
                type(self).end(self)
        return found

    ends_after = 0
    end: Callable[[Any], None] = lambda _: None


@pytest.mark.parametrize("is_packed", [False, True], ids=["of a database", "of a bucket"])
def test_a_part_that_ends_while_its_record_is_made_loses_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, is_packed: bool
) -> None:
    monkeypatch.setattr(part_recorder, "_Source", Racing)
    entries = [_entry("tables/a", pack(1)), _entry("tables/b", pack(2))]
    file = scene.scratch / ("new.zst" if is_packed else "entries")
    ended = 0

    def end(source: Racing) -> None:
        """Store the second pack, and do what `finish` or `finish_packed` does."""
        nonlocal ended
        ended += 1
        cast(Packs, source.packs).packs.append(pack(2))
        if is_packed:
            source.packed = Packed(file, frozenset({pack(1).key, pack(2).key}), 700)
        else:
            source.file = file
        source.writer = None

    for read in itertools.count(1):
        # Given a part with an entry that is stored, and one that is not yet
        if is_packed:
            file.write_bytes(pack_lines([one.model_dump_json().encode() + b"\n" for one in entries]))
        else:
            write_lines(entries, file)
        monkeypatch.setattr(Racing, "ends_after", read)
        monkeypatch.setattr(Racing, "end", end)
        recorder, ended = scene.recorder(first_number=1000 * read), 0
        packs, writer = begin(recorder, 1)
        packs.packs.append(pack(1))
        writer.entries += entries

        # When it ends after a number of reads of what it is
        recorder._record()
        if not ended:
            break
        for _ in range(2):
            recorder._record()
        names = list(itertools.chain.from_iterable(scene.recorded(from_number=1000 * read)))

        # Then nothing of it is lost: what a bucket's part is recorded of twice, once by itself, once with the whole
        assert set(names) == {"tables/a", "tables/b"}, read
        assert is_packed or len(names) == 2, read
        assert is_packed is not file.exists(), read
    assert read > 5


def test_what_a_part_has_packed_becomes_part_of_a_record_as_it_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def packed(number: int, *names: str) -> Packed:
        file = scene.scratch / f"new-{number}.zst"
        lines = [_entry(name, pack(number)).model_dump_json(exclude_defaults=True).encode() + b"\n" for name in names]
        file.write_bytes(pack_lines(lines))
        return Packed(file, frozenset({pack(number).key} if names else ()), len(b"".join(lines)))

    # Given a part of which an entry was recorded while it was worked on, and one that is worked on
    recorder = scene.recorder()
    first, second = (begin(recorder, number) for number in (1, 2))
    first[0].packs.append(pack(1))
    first[1].entries.append(_entry("tables/1/0", pack(1)))
    recorder._record()
    second[0].packs.append(pack(2))
    second[1].entries.append(_entry("tables/2/0", pack(2)))

    # When others are finished: also one without new entries, and one that names a pack which nothing knows
    parts = {1: packed(1, "tables/1/0", "tables/1/1"), 3: packed(3, "tables/3/0"), 4: packed(4), 5: packed(5, "lost")}
    for number, one in parts.items():
        if number > 1:
            begin(recorder, number)[0].packs += [pack(number)] if number == 3 else []
        recorder.finish_packed(number, one)
    recorder._record()
    recorder._record()

    # Then it is one record in the order of the parts, written once, and their files are gone
    assert scene.recorded() == [["tables/1/0"], ["tables/1/0", "tables/1/1", "tables/2/0", "tables/3/0"]]
    assert not any(one.file.exists() for one in parts.values())

    # And a part with more text than a record has room for is taken line by line
    monkeypatch.setattr(part_recorder, "_RECORD_BYTES", 500)
    begin(recorder, 6)[0].packs.append(pack(6))
    recorder.finish_packed(6, large := packed(6, *(f"tables/6/{index}" for index in range(4))))
    recorder._record()
    assert scene.recorded()[2:] == [["tables/6/0", "tables/6/1"], ["tables/6/2", "tables/6/3"]]
    assert not large.file.exists()


def test_records_begin_when_a_run_is_a_minute_old_and_come_less_often_in_one_of_hours() -> None:
    assert [seconds_to_wait(age) for age in (-1, 0, 45, 55, 900, 7200)] == [61, 60, 15, 10, 10, 72]


def test_of_a_plan_that_was_given_up_nothing_more_is_recorded(scene: Scene) -> None:
    recorder = scene.recorder()
    packs, writer = begin(recorder, 1)
    packs.packs.append(pack(1))
    writer.entries.append(_entry("tables/a", pack(1)))
    recorder.begin_plan({})

    recorder._record()

    assert scene.recorded() == []


def fails(recorder: PartRecorder, error: Exception) -> None:
    """Let a run fail that has stored one entry."""
    with recorder:
        packs, writer = begin(recorder, 1)
        packs.packs.append(pack(1))
        writer.entries.append(_entry("tables/a", pack(1)))
        raise error


def test_an_error_records_what_is_stored_and_says_that_it_is_kept(scene: Scene) -> None:
    error = DeadlineError("There was no time left.")

    with pytest.raises(DeadlineError):
        fails(scene.recorder(), error)

    assert scene.recorded() == [["tables/a"]]
    (note,) = error.__notes__
    assert note == "What was stored (100 B) is kept for a day: the next backup of this target continues from there."


def test_a_vault_that_refuses_records_fails_nothing_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("The vault refuses it.", code="STORE_DENIED")

    monkeypatch.setattr(DirectoryStore, "put", refuse)
    error = DeadlineError("There was no time left.")

    with pytest.raises(DeadlineError):
        fails(scene.recorder(), error)

    assert not hasattr(error, "__notes__")


def test_without_a_catalog_nothing_is_recorded(scene: Scene) -> None:
    error = DeadlineError("There was no time left.")

    with pytest.raises(DeadlineError):
        fails(scene.recorder(has_catalog=False), error)

    assert scene.recorded() == []
    assert not hasattr(error, "__notes__")
