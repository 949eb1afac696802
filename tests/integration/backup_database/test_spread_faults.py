"""Faults in spread backups: whatever happens to its functions, a run ends, says so, and is never two snapshots.

`SPREAD_FAULT_RUNS` sets the number of runs (`python -m benchmarks spread_faults`); each has a seed of its own.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest
from tests.integration.conftest import Coffre, run_sql
from tests.integration.contents import no_session_stays
from tests.integration.spread_machine import Faults, spread_machine

from coffre.catalog.usages import Usages
from coffre.model.backup import Backup, Status
from coffre.runtime.bootstrap import Services
from coffre.vault.codec import FrameDecoder

RUNS = int(os.environ.get("SPREAD_FAULT_RUNS", "3"))
FIRST = int(os.environ.get("SPREAD_FAULT_SEED", "0"))
TABLES = 8
ROWS = 50
STEPS = ("hold-a", "hold-b", "seal", *(f"work-{number}" for number in range(TABLES)))


@pytest.fixture
def ticking(empty_database: str) -> Iterator[str]:
    """A database whose tables all say the same at every moment, and never for long."""
    for number in range(TABLES):
        run_sql(
            empty_database,
            f"CREATE TABLE t{number} (id int PRIMARY KEY, tick bigint NOT NULL)",
            f"INSERT INTO t{number} SELECT n, 0 FROM generate_series(1, {ROWS}) n",
        )
    with _writer(empty_database):
        yield empty_database


@contextmanager
def _writer(url: str) -> Iterator[None]:
    done = threading.Event()

    def write() -> None:
        with closing(psycopg2.connect(url, application_name="writer")) as session:
            while not done.is_set():
                with session, session.cursor() as cursor:
                    for number in range(TABLES):
                        cursor.execute(f"UPDATE t{number} SET tick = tick + 1")
                done.wait(0.03)  # shorter than any step takes, and long enough to leave the processor to them

    thread = threading.Thread(target=write, name="writer")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def drawn(seed: int) -> Faults:
    """The faults of a seed: some steps are killed at one of their calls, some come twice, late, or in another order."""
    draw = random.Random(seed)
    kinds = draw.sample(("killed", "holders", "doubled", "delayed", "seal", "stopped"), draw.randint(1, 3))
    faults = Faults(order=random.Random(seed))
    if "killed" in kinds:
        faults.kill_at |= {step: draw.randint(1, 40) for step in draw.sample(STEPS, 3)}
    if "holders" in kinds:
        faults.kill_at |= {holder: draw.randint(1, 30) for holder in draw.choice((["hold-a"], ["hold-a", "hold-b"]))}
    if "doubled" in kinds:
        faults.doubled = frozenset(draw.sample(STEPS[3:], 3))
    if "delayed" in kinds:
        faults.delayed = {step: draw.uniform(0.1, 1.5) for step in draw.sample(STEPS[2:], 2)}
    if "seal" in kinds:
        faults.kill_at["seal"] = draw.randint(1, 40)
    if "stopped" in kinds:
        faults.stop_after = draw.uniform(0.1, 3.0)
    return faults


# A thread of a function that is killed ends by that, too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("seed", range(FIRST, FIRST + RUNS))
def test_a_run_with_faults_ends_as_one_snapshot_or_as_failed(
    coffre: Coffre, ticking: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    coffre.configure(ticking, target={"limits": {"spread": "always", "streams": 2}})
    # Played AWS takes a fifth of a run for these, and no fault is about them.
    configuration = coffre.backup_function().services.configuration()
    monkeypatch.setattr(Services, "configuration", lambda services: configuration)
    monkeypatch.setattr(Usages, "add", lambda *_, **__: None)
    with spread_machine(coffre, monkeypatch, drawn(seed), hold_seconds=1.0) as machine:
        answer = coffre.backup()
        machine.wait()

    backup = coffre.catalog.get_backup(answer["id"])
    said = f"seed {seed}: {backup.failure}, {machine.errors}"
    assert backup.status in (Status.COMPLETED, Status.FAILED), said
    if backup.status is Status.COMPLETED:
        _require_one_snapshot(coffre, backup)
    else:
        assert backup.failure is not None, said
        assert "BACKUP_FAILED" in {alert["MessageAttributes"]["kind"]["Value"] for alert in coffre.alerts()}, said
        assert coffre.backup_function().services.vault.find_manifest("shop", backup.id) is None, said
    assert coffre.catalog.locks._find("shop") is None, said
    no_session_stays(ticking)


def _require_one_snapshot(coffre: Coffre, backup: Backup) -> None:
    vault = coffre.backup_function().services.vault
    found = vault.find_manifest("shop", backup.id)
    assert found is not None
    decoder = FrameDecoder((coffre.identity,))
    ticks = set()
    rows = 0
    for entry in vault.entries(found[0]):
        if entry.relation is not None:
            lines = b"".join(vault.read_entry(entry, decoder)).splitlines()
            rows += len(lines)
            ticks |= {line.split(b"\t")[1] for line in lines}
    assert rows == TABLES * ROWS
    assert len(ticks) == 1, "rows of several snapshots"
