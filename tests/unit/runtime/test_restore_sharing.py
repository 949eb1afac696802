"""When rows of a restore are shared, over how many connections, and how a share waits for a server that is full."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coffre.model.backup import Backup, Progress, Restore, Status
from coffre.model.database_target import Limits
from coffre.model.errors import ConnectTransientError, TargetUnknownError
from coffre.model.export import destination_of
from coffre.operations.restore_database import shared_loading
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.shared_loading import ShareOfRows
from coffre.operations.runs.progress import Meter
from coffre.postgres.connection.client_tools import Children
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.restore import RestoreEvent
from coffre.runtime.restore_sharing import SharingRestores

GB = 10**9
ID = "01K9X000000000000000000000"
WHOLE = {"backup_id": ID, "destination": "coffre/destination/x"}
NOW = datetime(2026, 11, 29, tzinfo=UTC)
BACKUP = cast("Backup", SimpleNamespace(target="main"))


def restored(size_bytes: int, seconds: int, **more: Any) -> Restore:
    about: dict[str, Any] = {"id": ID, "backup_id": ID, "target": "main", "destination": "x", "created_at": NOW, **more}
    progress = Progress(done_bytes=size_bytes)
    return Restore(status=Status.COMPLETED, duration_ms=seconds * 1000, progress=progress, **about)


def deciding(limits: Limits | None, *earlier: Restore) -> SharingRestores:
    """Return what decides for a target with these limits (None: the configuration does not name it)."""

    def database(name: str) -> SimpleNamespace:
        if limits is None:
            raise TargetUnknownError(name)
        return SimpleNamespace(limits=limits)

    services = SimpleNamespace(
        configuration=lambda: SimpleNamespace(database=database),
        catalog=SimpleNamespace(restores=lambda _, status: iter(earlier)),
        edge=SimpleNamespace(logger=logging.getLogger("test")),
    )
    return SharingRestores(cast("Services", services), "arn")


@pytest.mark.parametrize(
    ("limits", "earlier", "left", "free", "width"),
    [
        (Limits(), [], 5 * GB, 100, None),  # 500 s at 10 MB/s
        (Limits(), [], 7 * GB, 100, 4),
        (None, [], 7 * GB, 100, 4),
        (Limits(), [restored(50 * GB, 500)], 40 * GB, 100, None),  # 100 MB/s
        (Limits(), [restored(50 * GB, 500)], 80 * GB, 100, 4),
        (Limits(), [restored(50 * GB, 500, invocation=3)], 40 * GB, 100, 4),  # a chain: its rate is not one function's
        (Limits(), [restored(50 * GB, 500, dry_run=True)], 40 * GB, 100, 4),
        (Limits(), [restored(50 * GB, 500, destination=destination_of("a.dump.age"))], 40 * GB, 100, 4),  # an export
        (Limits(spread="never"), [], 900 * GB, 100, None),
        (Limits(spread="always", streams=8), [], 1000, 100, 2),
        (Limits(), [], 7 * GB, 20, 2),  # half of what is free stays free
        (Limits(), [], 7 * GB, 10, 1),  # too few for two functions: the restore loads alone
    ],
)
def test_rows_are_shared_when_one_function_is_too_slow(
    monkeypatch: pytest.MonkeyPatch,
    limits: Limits | None,
    earlier: list[Restore],
    left: int,
    free: int,
    width: int | None,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    found = deciding(limits, *earlier).of(BACKUP, RestoreEvent.parse(WHOLE), lambda: 880.0)

    assert found is not None
    assert found.is_demanded is (limits is not None and limits.spread == "always")
    divided = found.divide(left, free)
    assert (divided[0].width if divided else None) == width
    assert divided is None or divided[0].streams <= 4


def test_only_what_several_invocations_can_do_is_shared() -> None:
    for scope in ({"tables": ["a"]}, {"contents": "data"}, {"contents": "schema", "dry_run": True}):
        assert deciding(Limits(spread="always")).of(BACKUP, RestoreEvent.parse(WHOLE | scope), lambda: 880.0) is None


def test_a_share_waits_while_the_server_has_no_free_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [ConnectTransientError("too many connections")] * 4
    waited: list[float] = []
    time_left = 880.0

    @contextmanager
    def session(_: RestoreJob) -> Iterator[str]:
        if refusals:
            raise refusals.pop()
        yield "session"

    monkeypatch.setattr(shared_loading, "loading_session", session)
    monkeypatch.setattr(shared_loading, "time", SimpleNamespace(sleep=waited.append))
    job = SimpleNamespace(remaining_seconds=lambda: time_left, children=Children())
    share = ShareOfRows(cast("RestoreJob", job), ID, 0, 2, Meter())

    with share._connected() as found:
        assert cast("object", found) == "session"
    assert waited == [1.0, 2.0, 4.0, 8.0]

    time_left, refusals[:] = 100.0, [ConnectTransientError("too many connections")]
    with pytest.raises(ConnectTransientError), share._connected():
        pass
    time_left, refusals[:] = 880.0, [ConnectTransientError("it is starting up", code="STARTING")]
    with pytest.raises(ConnectTransientError), share._connected():
        pass
    assert len(waited) == 4
