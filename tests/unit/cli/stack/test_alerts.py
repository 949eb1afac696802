"""`coffre alerts`: what goes on, and whether people would hear of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.catalog_table import spoil
from tests.unit.cli.conftest import OUTPUTS, Account, Coffre

from coffre.model.incident import Incident
from coffre_cli import stack_choice

NOW = datetime.now(UTC)
SENT = {"place": "line 1 of the secret coffre/alerts/urls", "sent": True}
MALFORMED = {
    "place": "line 2 of the secret coffre/alerts/urls",
    "sent": False,
    "code": "ALERT_URL_MALFORMED",
    "error": "Line 2 of the secret coffre/alerts/urls cannot be used. [ALERT_URL_MALFORMED]",
}


def incident(kind: str, target: str = "shop", *, hours: int = 1, **fields: Any) -> Incident:
    since = NOW - timedelta(hours=hours)
    return Incident(
        target=target, kind=kind, fingerprint="", subject=f"{kind} of {target}", since=since, seen_at=NOW, **fields
    )


@pytest.fixture
def incidents(account: Account) -> Account:
    for one in (
        incident("BACKUP_FAILED", hours=5, told_at=NOW, seen=12),
        incident("QUOTA", "-", told_at=NOW),
        incident("SIZE_ANOMALY", told_at=NOW, ended_at=NOW),
    ):
        assert account.catalog.incidents.replace(None, one)
    return account


def test_what_goes_on_is_listed_newest_first(incidents: Account, coffre: Coffre) -> None:
    said = coffre("alerts", "list")

    assert said.status == 0
    rows = [line.split()[:2] for line in said.out.splitlines()]
    assert rows[1:3] == [["QUOTA", "-"], ["BACKUP_FAILED", "shop"]]
    assert "12" in said.out
    assert "SIZE_ANOMALY" not in said.out


def test_a_record_that_cannot_be_read_is_named_and_hides_no_other(account: Account, coffre: Coffre) -> None:
    for one in (incident("BACKUP_FAILED", told_at=NOW), incident("RESTORE_FAILED", told_at=NOW)):
        assert account.catalog.incidents.replace(None, one)
    key = spoil("ALERT", "since")

    said = coffre("alerts", "list")

    assert f'The catalog\'s record "{key}" is damaged.' in said.err
    assert "delete it" in said.err
    assert said.status == 4
    assert len(coffre("alerts", "list", "--json").json()) == 1


def test_a_problem_of_a_later_version_is_listed_as_critical(account: Account, coffre: Coffre) -> None:
    assert account.catalog.incidents.replace(None, incident("LATER_KIND", told_at=NOW))

    assert "LATER_KIND" in coffre("alerts", "list").out
    [one] = coffre("alerts", "list", "--json").json()
    assert (one["severity"], one["runbook"]) == ("critical", "docs/runbooks/LATER_KIND.md")


def test_scripts_get_the_kind_its_severity_and_its_runbook(incidents: Account, coffre: Coffre) -> None:
    [shop] = coffre("alerts", "list", "shop", "--json").json()

    assert (shop["kind"], shop["severity"], shop["runbook"], shop["seen"]) == (
        "BACKUP_FAILED",
        "critical",
        "docs/runbooks/BACKUP_FAILED.md",
        12,
    )


def test_when_nothing_goes_on_this_is_said(account: Account, coffre: Coffre) -> None:
    assert "No open problems." in coffre("alerts", "list").out
    assert coffre("alerts", "list", "--json").json() == []


# --- trying it out ---


@pytest.fixture
def notified(account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """A stack with the function `notify`."""
    monkeypatch.setattr(stack_choice, "_outputs", lambda name: {**OUTPUTS, "NotifyFunction": "safe-notify"})
    return account


def test_a_test_says_how_each_url_took_it_and_fails_when_one_did_not(notified: Account, coffre: Coffre) -> None:
    notified.play = lambda function, event: {"tried": [SENT, MALFORMED]}

    said = coffre("alerts", "test")

    assert notified.invoked == [("safe-notify", {"test": True})]
    assert said.status == 1
    assert "line 1 of the secret coffre/alerts/urls: sent" in said.out
    assert "ALERT_URL_MALFORMED" in said.out
    assert coffre("alerts", "test", "--json").json() == [SENT, MALFORMED]


def test_a_test_that_all_took_is_done(notified: Account, coffre: Coffre) -> None:
    notified.play = lambda function, event: {"tried": [SENT]}

    assert coffre("alerts", "test").status == 0


def test_a_function_that_fails_is_an_error_in_its_own_words(notified: Account, coffre: Coffre) -> None:
    def fail(function: str, event: Mapping[str, Any]) -> object:
        return {"errorType": "SecretError", "errorMessage": "There is no secret coffre/alerts/urls. [SECRET_MISSING]"}

    notified.play = fail
    said = coffre("alerts", "test")

    assert said.status == 1
    assert "SECRET_MISSING" in said.err


def test_a_stack_without_the_function_says_how_to_get_it(account: Account, coffre: Coffre) -> None:
    said = coffre("alerts", "test")

    assert said.status == 1
    assert "AlertUrlsSecret" in said.err
    assert account.invoked == []
