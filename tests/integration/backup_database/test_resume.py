"""A run that does not finish leaves what it has stored to the next run of its target."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.integration.backup_database.killed_run import backup_job, one_run
from tests.integration.conftest import Coffre, beside, run_sql, with_password
from tests.integration.expect import failed_backup
from tests.integration.runs.test_deadline import Hourglass

from coffre.model.backup import Backup, Status, Tier
from coffre.model.errors import DumpTransientError, LockLostError
from coffre.model.manifest import Manifest
from coffre.operations.runs import part_recorder
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.unfinished_runs import UnfinishedRun
from coffre.policy import slicing
from coffre.vault import pack
from coffre.vault.codec import FrameDecoder
from coffre.vault.layout import part_number
from coffre_local.sample import fingerprint

HERE = Path(__file__).parent
SMALL = 64 * 1024
MOST_AGAIN = 0.12


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 36 MB have as many packs and slices as many gigabytes have."""
    monkeypatch.setattr(pack, "PACK_SIZE_BYTES", SMALL)
    monkeypatch.setattr(slicing, "SLICE_BLOCKS", 24)


@pytest.fixture
def shop(empty_database: str) -> str:
    """Two tables of 18 MB each, of which little can be compressed, and small ones."""
    rows = "SELECT g AS id, md5(g::text) || md5((g * 7)::text) || md5((g * 11)::text) AS text"
    run_sql(
        empty_database,
        *(f"CREATE TABLE {name} AS {rows} FROM generate_series(1, 130000) g" for name in ("large", "other")),
        *(f"CREATE TABLE small_{n} AS SELECT g AS id FROM generate_series(1, 50) g" for n in range(5)),
        "VACUUM",
    )
    return with_password(empty_database)


def at_nine_tenths(monkeypatch: pytest.MonkeyPatch, fault: Callable[[], object]) -> None:
    """Let a fault happen when nine tenths of the tables are read, before the next slice is."""
    add, lock, faults = Meter.add, threading.Lock(), [fault]

    def add_and_break(self: Meter, **done: object) -> None:
        add(self, **done)  # type: ignore[arg-type]
        progress = self.read()
        with lock:
            is_due = bool(faults) and progress.done_bytes >= 0.9 * progress.total_bytes > 0
            due = faults.pop() if is_due else None
        if due is not None:
            due()

    monkeypatch.setattr(Meter, "add", add_and_break)


def manifest_of(coffre: Coffre, backup_id: str) -> Manifest:
    found = coffre.backup_function().services.vault.find_manifest("shop", backup_id)
    assert found is not None
    return found[0]


def restores_as_it_was(coffre: Coffre, backup_id: str, source: str) -> None:
    copy = beside(source, f"{urlsplit(source).path[1:]}_copy")
    coffre.restore(backup_id, copy)
    assert fingerprint(copy) == fingerprint(source)
    run_sql(source, f"DROP DATABASE {urlsplit(copy).path[1:]}")


def broken() -> None:
    raise DumpTransientError("A cable was pulled.", code="CONNECTION_LOST", hint="Put it back.")


def cancelled(watch: Watch, _: Hourglass) -> None:
    watch.end(LockLostError("A person cancelled it.", code="CANCELLED"))


def out_of_time(watch: Watch, hourglass: Hourglass) -> None:
    hourglass.run_out()
    with pytest.raises(Exception, match="time is nearly over"):
        watch.check()
    watch._stop()


@pytest.mark.parametrize(("fault", "code"), [(cancelled, "CANCELLED"), (out_of_time, "DEADLINE")])
def test_the_next_run_stores_what_the_one_before_had_not(
    coffre: Coffre,
    shop: str,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Watch, Hourglass], None],
    code: str,
) -> None:
    # Given a run that ended when nine tenths were stored
    coffre.configure(shop, target={"limits": {"streams": 2}})
    hourglass = Hourglass()
    watches: list[Watch] = []
    function = replace(coffre.backup_function(), watched=watches.append)
    with monkeypatch.context() as breaking:
        at_nine_tenths(breaking, lambda: fault(watches[-1], hourglass))
        with pytest.raises(Exception, match="kept for a day"):
            raise_with_notes(lambda: function.handle({"target": "shop"}, hourglass))
    failed = coffre.backups()[0]
    assert failed.failure is not None
    assert failed.failure.code == code
    assert "is kept for a day: the next backup of this target continues from there." in failed.failure.message

    # When the next one is taken
    done = manifest_of(coffre, coffre.backup()["id"])

    # Then it stores the rest, and says so
    assert done.stored_bytes <= MOST_AGAIN * sum(pack.live_bytes for pack in done.packs)
    (note,) = [note for note in done.notes if "were stored already by the run that ended at" in note]
    assert failed.id in note
    assert note in next(line for line in coffre.log_lines if "run ended" in line)
    assert after_it_nothing_is_stored(coffre, done)


def after_it_nothing_is_stored(coffre: Coffre, done: Manifest) -> bool:
    """Whether the next backup points at this one, and at no unfinished run any more."""
    after = manifest_of(coffre, coffre.backup()["id"])
    return after.notes == () and after.stored_bytes < 0.02 * done.plaintext_bytes


def raise_with_notes(work: Callable[[], object]) -> None:
    """Raise what the work raises, with its notes in its text."""
    try:
        work()
    except Exception as error:
        raise AssertionError(" ".join([str(error), *getattr(error, "__notes__", ())])) from error


def test_a_run_that_is_killed_leaves_what_it_has_recorded(shop: str, postgresql_home: Path, tmp_path: Path) -> None:
    # Given a process that dies when nine tenths are read
    vault, records = tmp_path / "vault", tmp_path / "records"
    vault.mkdir()
    dead = subprocess.run(
        [sys.executable, HERE / "killed_run.py", shop, postgresql_home, vault, records],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    killed_id, *lines = records.read_text().splitlines()
    known = dict(map(json.loads, lines))
    now = datetime.now(UTC)
    killed = Backup(id=killed_id, target="shop", tiers=(Tier.MANUAL,), status=Status.FAILED, created_at=now)

    # When the next run knows of it
    job = backup_job(shop, postgresql_home, vault, tmp_path)
    done = one_run(replace(job, unfinished=(UnfinishedRun(killed, known),)), None)

    # Then it stores the rest, and every frame that it points at is good
    assert done.stored_bytes <= MOST_AGAIN * sum(pack.live_bytes for pack in done.packs)
    assert killed_id in done.notes[0]
    for entry in job.vault.entries(done):
        assert sum(map(len, job.vault.read_entry(entry, FrameDecoder()))) == entry.size


def test_what_vanished_since_is_stored_again(coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run that failed, of which one record was cut, one was forged, and two packs are gone or cut
    coffre.configure(shop, target={"limits": {"streams": 2}})
    monkeypatch.setattr(part_recorder, "_RECORD_BYTES", 5_000)
    with monkeypatch.context() as breaking:
        at_nine_tenths(breaking, broken)
        failed_backup(coffre, "CONNECTION_LOST")
    failed = coffre.backups()[0]
    store = coffre.backup_function().services.vault.store
    records = [info.key for info in store.list("v1/backups/") if part_number(info.key) is not None]
    assert len(records) > 3
    bodies = [store.get(key) for key in records[:3]]
    coffre.put_object(records[0], bodies[0][:-9])
    coffre.put_object(records[1], bodies[2])
    lost, cut, *_ = [info.key for info in store.list(f"v1/packs/{failed.id}/")]
    store.delete(lost)
    coffre.put_object(cut, store.get(cut)[:-1])

    # When the next one is taken
    done = manifest_of(coffre, coffre.backup()["id"])

    # Then it says what it left out, points at nothing that is not whole, and restores
    assert any(f"2 records of the unfinished run {failed.id} cannot be used" in note for note in done.notes)
    assert not {lost, cut} & {pack.key for pack in done.packs}
    assert any(failed.id in pack.key for pack in done.packs)
    restores_as_it_was(coffre, done.backup_id, shop)


def test_full_points_at_nothing_and_what_is_done_within_a_minute_leaves_no_records(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop, target={"limits": {"streams": 2}})
    with monkeypatch.context() as breaking:
        at_nine_tenths(breaking, broken)
        failed_backup(coffre, "CONNECTION_LOST")
    failed = coffre.backups()[0]

    done = manifest_of(coffre, coffre.backup(full=True)["id"])

    assert not any(failed.id in pack.key for pack in done.packs)
    store = coffre.backup_function().services.vault.store
    records = [info.key for info in store.list("v1/backups/") if part_number(info.key) is not None]
    assert records
    assert not [key for key in records if done.backup_id in key]
