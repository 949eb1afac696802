"""A person cancels what runs: it ends within seconds, leaves nothing, and troubles no one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.conftest import Coffre, Context
from tests.integration.faults import children, during_copy
from tests.integration.runs.test_deadline import (  # noqa: F401 - fixtures
    PATIENCE_SECONDS,
    destination,
    large,
    leaves_nothing,
    quick_watch,
)

from coffre.model.audit import Actor
from coffre.model.backup import Status
from coffre.operations.admin.cancel import Cancelling
from coffre.operations.restore_database import table_rows
from coffre.operations.runs.heartbeat import Watch
from coffre.runtime.rotate_function import RotateFunction

ADA = "arn:aws:iam::123456789012:user/ada"


def cancel(coffre: Coffre, run_id: str) -> dict[str, Any]:
    function = RotateFunction.make(coffre.environment)
    return function.handle({"cancel": run_id, "actor": ADA}, Context(function_name="rotate"))


def cancel_and_wait(coffre: Coffre, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancel a run from within another function, whose role does all else; continue when its watch has seen it."""
    end, ended = Watch.end, threading.Event()

    def end_and_say_so(self: Watch, reason: Exception) -> None:
        end(self, reason)
        ended.set()

    monkeypatch.setattr(Watch, "end", end_and_say_so)
    Cancelling(coffre.catalog, Actor(ADA), datetime.now(UTC)).cancel(run_id)
    assert ended.wait(PATIENCE_SECONDS)


def cancelled(coffre: Coffre) -> list[tuple[str, str | None]]:
    return [(one.action, one.subject) for one in coffre.catalog.audit.events() if one.action.endswith(".cancelled")]


def the_only_one(coffre: Coffre) -> str:
    [backup] = list(coffre.catalog.backups(status=Status.IN_PROGRESS))
    return backup.id


def test_a_backup_that_is_cancelled_in_the_middle_leaves_nothing_and_is_no_alarm(
    coffre: Coffre,
    large: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coffre.configure(large)
    good = coffre.backup()["id"]
    coffre.alerts()
    with monkeypatch.context() as faults:
        during_copy(faults, lambda: cancel_and_wait(coffre, the_only_one(coffre), faults))
        answer = coffre.backup()

    record = coffre.catalog.get_backup(answer["id"])
    assert (answer["outcome"], answer["status"]) == ("cancelled", "FAILED")
    assert record.failure is not None
    assert (record.failure.code, record.cancelled_by) == ("CANCELLED", ADA)
    assert ADA in record.failure.message
    assert coffre.troubles() == []
    assert not [key for key in coffre.objects() if record.id in key and key.endswith("manifest.json")]
    assert cancelled(coffre) == [("backup.cancelled", record.id)]
    leaves_nothing(large)
    assert coffre.backup()["status"] == "COMPLETED"
    assert coffre.backups()[-1].id == good


def test_a_restore_that_is_cancelled_in_the_middle_leaves_nothing_running_and_is_no_alarm(
    coffre: Coffre,
    large: str,  # noqa: F811
    destination: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coffre.configure(large)
    backup_id = coffre.backup()["id"]
    coffre.alerts()
    fill: Callable[..., int] = vars(table_rows)["copy_in"]
    first = threading.Lock()

    def slowly(*arguments: Any, **how: Any) -> int:
        if first.acquire(blocking=False):
            [restore] = list(coffre.catalog.restores(status=Status.IN_PROGRESS))
            cancel_and_wait(coffre, restore.id, monkeypatch)
        return fill(*arguments, **how)

    monkeypatch.setattr(table_rows, "copy_in", slowly)
    answer = coffre.restore(backup_id, destination)

    record = coffre.catalog.get_restore(answer["id"])
    assert record.status is Status.FAILED
    assert record.failure is not None
    assert record.failure.code == "CANCELLED"
    assert coffre.troubles() == []
    assert cancelled(coffre) == [("restore.cancelled", record.id)]
    leaves_nothing(destination)


def test_what_has_ended_or_does_not_exist_is_not_cancelled(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    done = coffre.backup()["id"]

    ended, unknown = cancel(coffre, done), cancel(coffre, "01K9X000000000000000000000")

    assert (ended["failure"]["code"], unknown["failure"]["code"]) == ("RUN_ENDED", "RUN_UNKNOWN")
    assert coffre.catalog.get_backup(done).cancelled_by is None
    assert cancelled(coffre) == []


def test_the_record_of_a_dead_run_is_ended(coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    coffre.configure(shop)
    with monkeypatch.context() as killed:
        # Whatever ends a process, its record stays as it is.
        killed.setattr("coffre.catalog.catalog.Catalog.fail_backup", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        killed.setattr(
            "coffre.runtime.backup_database_function.backup_or_spread",
            lambda *_: (_ for _ in ()).throw(RuntimeError("killed")),
        )
        with pytest.raises(SystemExit):
            coffre.backup()
    dead = the_only_one(coffre)
    monkeypatch.setattr("coffre.operations.admin.cancel.STALE_AFTER", -timedelta(seconds=1))

    answer = cancel(coffre, dead)

    assert answer["backup"]["status"] == "FAILED"
    assert answer["backup"]["failure"]["code"] == "CANCELLED"
    assert coffre.backup()["status"] == "COMPLETED"
    assert children() == []
