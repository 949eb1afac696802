"""The alert about an access to the vault: who, what, how often, when, from where."""

from __future__ import annotations

from tests.unit.alerts.test_alert import NOW, TAKEN
from tests.unit.alerts.test_runbooks import accesses

from coffre.alerts.accesses import accesses_unknown, vault_accessed
from coffre.alerts.alert import AlertKind, Severity
from coffre.model.access import AccessAction, AccessGroup

GROUP = AccessGroup(
    principal="arn:aws:sts::123456789012:assumed-role/Admin/mallory",
    day="2026-10-03",
    action=AccessAction.DELETE,
    requests=1_002,
    refused=2,
    first_at=TAKEN,
    last_at=NOW,
    keys=("v1/packs/a", "v1/packs/b"),
    ips=("192.0.2.1", "192.0.2.2"),
)


def test_it_says_who_did_what_how_often_and_when() -> None:
    alert = vault_accessed(GROUP)

    assert alert.subject == "Not Coffre: Admin/mallory deleted objects of the vault"
    for words in (
        "who: arn:aws:sts::123456789012:assumed-role/Admin/mallory",
        "requests that succeeded: 1,000 (2 more were refused)",
        "first 2026-10-02 02:00 UTC, last 2026-10-03 08:00 UTC",
        "from: 192.0.2.1, 192.0.2.2",
        "object: v1/packs/b",
    ):
        assert f"- {words}\n" in alert.text
    assert (alert.kind.severity, alert.kind.is_event) == (Severity.CRITICAL, True)


def test_it_is_the_same_problem_for_one_principal_day_and_action() -> None:
    same = vault_accessed(GROUP.model_copy(update={"requests": 5, "keys": ("c",), "ips": ()}))
    changes = ({"principal": "-"}, {"day": "2026-10-04"}, {"action": AccessAction.READ})
    others = {vault_accessed(GROUP.model_copy(update=change)).fingerprint for change in changes}

    assert same.fingerprint == vault_accessed(GROUP).fingerprint
    assert len(others | {same.fingerprint}) == 4


def test_what_is_not_known_is_said_once_a_day() -> None:
    alert = accesses_unknown(NOW, "no log was delivered.")

    assert alert.kind is AlertKind.VAULT_ACCESSED
    assert "Why: no log was delivered." in alert.text
    assert alert.fingerprint == accesses_unknown(TAKEN.replace(day=3), "Another reason.").fingerprint
    assert alert.fingerprint != accesses_unknown(TAKEN, "Another reason.").fingerprint


def test_no_name_of_a_client_steers_a_terminal() -> None:
    for alert in accesses():
        assert "\x1b" not in alert.text + alert.subject
        assert "\u202e" not in alert.text + alert.subject
        assert len(alert.subject) <= 100
