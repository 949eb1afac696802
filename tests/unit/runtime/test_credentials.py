"""What is read again when a login is refused, and what never is."""

from __future__ import annotations

import threading
import time

import pytest

from coffre.concurrency.renewal import Renewal
from coffre.model.errors import SecretError
from coffre.postgres.connection.address import Login
from coffre.runtime.credentials import connection_from
from coffre.runtime.sources import Stage


def url(password: str, host: str = "db") -> str:
    return f"postgresql://app:{password}@{host}:5432/shop"


class Secrets:
    """Answers with one text after the other; None: there is no such version."""

    def __init__(self, *current: str | None, pending: str | None = None) -> None:
        self.current = list(current)
        self.pending = pending
        self.stages: list[Stage] = []

    def __call__(self, reference: str, stage: Stage = "AWSCURRENT", /) -> str:
        self.stages.append(stage)
        text = self.pending if stage == "AWSPENDING" else self.current.pop(0)
        if text is None:
            raise SecretError(f"There is no secret {reference}.", code="SECRET_MISSING")
        return text


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.mark.parametrize(
    ("secrets", "expected", "waits"),
    [
        (Secrets(url("old"), url("new")), "new", 0),
        (Secrets(url("old"), url("old"), pending=url("next")), "next", 0),
        (Secrets(url("old"), url("old"), url("late")), "late", 1),
        # Nothing newer: the second attempt is with what there is
        (Secrets(url("old"), url("old"), url("old"), pending=url("old")), "old", 1),
        # A half-written version to come (RDS's begin without an address) is none
        (Secrets(url("old"), url("old"), url("late"), pending='{"password": "x"}'), "late", 1),
    ],
)
def test_a_refused_login_is_looked_for_where_a_rotation_may_have_put_it(
    secrets: Secrets, expected: str, waits: int, pauses: list[float]
) -> None:
    connection = connection_from(secrets, "coffre/database/shop")
    assert connection.renewal is not None

    assert connection.renewal.is_worth_another(connection.login)

    assert connection.login == Login("app", expected)
    assert connection.environment()["PGPASSWORD"] == expected
    assert len(pauses) == waits
    # Once: the next refusal counts
    assert not connection.renewal.is_worth_another(connection.login)


@pytest.mark.parametrize("second", [None, url("new", host="elsewhere"), "no address"])
def test_a_secret_that_does_not_help_leaves_the_refusal(second: str | None) -> None:
    connection = connection_from(Secrets(url("old"), second), "coffre/database/shop")
    assert connection.renewal is not None

    assert not connection.renewal.is_worth_another(connection.login)

    assert connection.login == Login("app", "old")


def test_threads_that_meet_the_same_refusal_read_once() -> None:
    readings: list[str] = []

    def read(refused: str) -> str:
        readings.append(refused)
        return "new"

    renewal = Renewal("old", read)
    barrier = threading.Barrier(8)
    answers: list[bool] = []

    def meet() -> None:
        barrier.wait()
        answers.append(renewal.is_worth_another("old"))

    threads = [threading.Thread(target=meet) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (answers, readings, renewal.current()) == ([True] * 8, ["old"], "new")


def test_a_password_is_in_no_text() -> None:
    connection = connection_from(Secrets(url("hunter2")), "coffre/database/shop")

    assert "hunter2" not in f"{connection!r} {connection.login!r} {connection}"
