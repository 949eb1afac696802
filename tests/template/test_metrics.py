"""Alarms and the dashboard: whatever they show or watch is really emitted, with its namespace and dimensions."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.template.rendering import ACCOUNT, REGION, STACK, Rendered, render

from coffre.model.backup import Backup, Status, Tier
from coffre.model.drill import Outcome
from coffre.model.drill_report import DrillReport
from coffre.model.freshness import Check, Checked, FreshReport
from coffre.model.rotation import Action, Amount, Decision, RotationReport, SweepReport
from coffre.model.verification import Level, VerificationReport
from coffre.runtime import observability

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-alerttopic"
SEARCH = re.compile(r"""SEARCH\('\{"([^"]+)",([a-z,]+)\} MetricName="(\w+)"', '(\w+)', (\d+)\)""")
BACKUP = Backup(
    id="01K9X000000000000000000000",
    target="shop",
    tiers=(Tier.DAILY,),
    status=Status.COMPLETED,
    created_at=NOW,
    duration_ms=1000,
)
DRILL = DrillReport(
    id="D",
    backup_id=BACKUP.id,
    target="shop",
    outcome=Outcome.PASSED,
    backup_created_at=NOW,
    started_at=NOW,
    completed_at=NOW,
    coffre_version="1",
    restore_seconds=1.0,
)


@dataclass(frozen=True)
class Metric:
    """A metric by its namespace, its name, the names of its dimensions, and (where it has no other) its service."""

    namespace: str
    name: str
    dimensions: frozenset[str]
    service: str | None = None


@pytest.fixture(scope="module")
def deployed() -> Rendered:
    return render()


@pytest.fixture
def emitted(deployed: Rendered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> set[Metric]:
    """Every metric that the functions write into their logs, read from there as CloudWatch does."""
    variables = deployed.globals["Function"]["Environment"]["Variables"]
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", variables["POWERTOOLS_METRICS_NAMESPACE"])
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)
    count_everything()
    return {metric for line in capsys.readouterr().out.splitlines() for metric in metrics_in(json.loads(line))}


def count_everything() -> None:
    decision = Decision(backup_id="B", target="shop", tiers=(), taken_at=NOW, action=Action.KEEP, reason="")
    checks = [
        Check(check=check, target="shop", status="ok", last_backup="B", age_hours=1.0)
        for check in (Checked.BACKUP, Checked.VERIFIED)
    ]
    for backup in (BACKUP, None):
        observability.count_backup("backup_database", "shop", backup)
    observability.count_restore("restore", "shop", succeeded=True)
    observability.count_rotation(
        "rotate", RotationReport(id="R", dry_run=False, decisions=(decision,), sweep=SweepReport())
    )
    observability.count_fresh("verify", FreshReport(status=200, checked_at=NOW, checks=tuple(checks)))
    for level in (Level.INVENTORY, Level.READ):
        report = VerificationReport(id="V", level=level, living={"shop": Amount(objects=1, size_bytes=1)})
        observability.count_verification("verify", report)
    observability.count_drill("drill", DRILL)
    observability.count_unsent("verify")


def metrics_in(line: dict[str, Any]) -> Iterator[Metric]:
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for dimensions in directive["Dimensions"]:
            for metric in directive["Metrics"]:
                service = line["service"] if dimensions == ["service"] else None
                assert metric["Name"] in line
                yield Metric(directive["Namespace"], metric["Name"], frozenset(dimensions), service)


def widgets(deployed: Rendered) -> list[dict[str, Any]]:
    body = json.loads(deployed.resources["Dashboard"]["Properties"]["DashboardBody"])
    found: list[dict[str, Any]] = body["widgets"]
    return found


def shown(deployed: Rendered) -> Iterator[Metric]:
    for widget in widgets(deployed):
        for row in widget["properties"]["metrics"]:
            if isinstance(row[0], dict):
                found = SEARCH.fullmatch(row[0]["expression"])
                assert found is not None, row[0]["expression"]
                yield Metric(found[1], found[3], frozenset(found[2].split(",")))
            elif not row[0].startswith("AWS/"):
                namespace, name, dimension, value, _ = row
                yield Metric(namespace, name, frozenset({dimension}), value)


def test_everything_on_the_dashboard_is_emitted(deployed: Rendered, emitted: set[Metric]) -> None:
    on_it = set(shown(deployed))

    assert on_it <= emitted, on_it - emitted
    assert {metric.name for metric in on_it} >= {
        *("BackupSucceeded", "BackupFailed", "DurationSeconds", "PlaintextBytes", "StoredBytes"),
        *("BackupAgeHours", "VerifiedAgeHours", "VaultBytes", "Retained", "DrillSeconds"),
    }


def test_what_is_emitted_by_target_has_all_that_was_promised(emitted: set[Metric]) -> None:
    by_target = {metric.name for metric in emitted if metric.dimensions == {"service", "target"}}

    assert by_target >= {
        *("BackupSucceeded", "BackupFailed", "DurationSeconds", "PlaintextBytes", "StoredBytes"),
        *("BackupAgeHours", "VerifiedAgeHours", "VaultBytes", "Retained", "DrillSeconds"),
    }


def test_every_namespace_is_the_stacks_own(emitted: set[Metric]) -> None:
    assert {metric.namespace for metric in emitted} == {f"Coffre/{STACK}"}


def test_widgets_do_not_overlap_and_fit_the_grid(deployed: Rendered) -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets(deployed):
        columns = range(widget["x"], widget["x"] + widget["width"])
        cells = {(x, y) for x in columns for y in range(widget["y"], widget["y"] + widget["height"])}
        assert max(columns) < 24
        assert not cells & taken
        taken |= cells
        assert widget["properties"]["region"] == REGION


@dataclass
class Played:
    """A metric alarm as CloudWatch plays it: one value, or nothing (None), in each of its periods."""

    properties: dict[str, Any]
    state: str = "INSUFFICIENT_DATA"

    def after(self, values: list[float | None]) -> str:
        """Return the state when these are the newest periods, the last one last; all before were missing."""
        count = int(self.properties["EvaluationPeriods"])
        newest = ([None] * count + values)[-count:]
        missing = {"breaching": True, "ignore": None}[self.properties["TreatMissingData"]]
        compare = {"LessThanThreshold": operator.lt, "GreaterThanThreshold": operator.gt}
        breaks = compare[self.properties["ComparisonOperator"]]
        found = [missing if value is None else breaks(value, self.properties["Threshold"]) for value in newest]
        if None not in found:
            self.state = "ALARM" if all(found) else "OK"
        return self.state


@pytest.mark.parametrize(
    ("name", "parts", "good", "bad"),
    [
        ("NoBackupAlarm", ("BackupsMissing", "BackupsHaveBegun"), 1.0, 0.0),
        ("OverdueAlarm", ("TargetsOverdue", "ChecksHaveBegun"), 0.0, 1.0),
    ],
)
def test_an_alarm_rings_when_what_it_waits_for_is_missing_but_not_before_the_first_run(
    deployed: Rendered, emitted: set[Metric], name: str, parts: tuple[str, str], good: float, bad: float
) -> None:
    missing, begun = (Played(deployed.resources[part]["Properties"]) for part in parts)
    count = int(missing.properties["EvaluationPeriods"])

    def rings(values: list[float | None]) -> bool:
        # Its first value is what the second alarm waits for; whatever is missing later changes nothing about it.
        states = missing.after(values), begun.after(values[-1:])
        return states == ("ALARM", "OK")

    # Both watch what is really emitted, and tell nobody by themselves; together they do
    alarm = deployed.resources[name]["Properties"]
    assert alarm["AlarmRule"] == 'ALARM("{}") AND OK("{}")'.format(
        *(f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{STACK}-{part.lower()}" for part in parts)
    )
    assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
    for one in (missing, begun):
        [dimension] = one.properties["Dimensions"]
        found = one.properties["Namespace"], one.properties["MetricName"]
        assert Metric(*found, frozenset({dimension["Name"]}), dimension["Value"]) in emitted
        assert not {"AlarmActions", "InsufficientDataActions"} & one.properties.keys()
        # CloudWatch takes no longer look back than a week.
        assert int(one.properties["Period"]) * int(one.properties["EvaluationPeriods"]) <= 7 * 86400
    # Nothing has run yet, then all is well, then nothing runs any more, and in the end it is well again
    assert not rings([None])
    assert not rings([good])
    assert not rings([good, *[None] * (count - 1)])
    assert rings([good, *[None] * count])
    assert not rings([None, good])
    # What runs and does not succeed rings as well
    assert rings([bad] * count)


def test_the_days_without_a_backup_are_at_most_what_an_alarm_can_look_back() -> None:
    alarm = render(DaysWithoutBackup="7").resources["BackupsMissing"]["Properties"]

    assert int(alarm["Period"]) * int(alarm["EvaluationPeriods"]) == 7 * 86400


def test_errors_of_every_function_ring_an_alarm_of_its_own(deployed: Rendered) -> None:
    alarms = {
        alarm["Dimensions"][0]["Value"]: alarm
        for alarm in deployed.of_type("AWS::CloudWatch::Alarm").values()
        if (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Errors")
    }

    assert set(alarms) == {one["FunctionName"] for one in deployed.functions().values()}
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == [TOPIC]
        assert (alarm["Statistic"], alarm["Threshold"], alarm["ComparisonOperator"]) == (
            "Sum",
            0,
            "GreaterThanThreshold",
        )
