"""A rule that is fired by hand sends what EventBridge would send."""

import datetime
import json
from typing import Any

import pytest

from coffre_local.schedule_rules import scheduled_event, target_input

RULE = "arn:aws:events:eu-west-1:000000000000:rule/coffre-Daily"
PARIS = datetime.timezone(datetime.timedelta(hours=2))
EVENT = scheduled_event(RULE, datetime.datetime(2026, 7, 1, 5, 0, tzinfo=PARIS), region="eu-west-1")


def test_the_event_of_a_schedule_carries_its_time_in_utc() -> None:
    assert EVENT["time"] == "2026-07-01T03:00:00Z"
    assert (EVENT["source"], EVENT["detail-type"], EVENT["detail"]) == ("aws.events", "Scheduled Event", {})
    assert EVENT["resources"] == [RULE]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param({}, EVENT, id="the whole event"),
        pytest.param({"Input": '{"tier": "DAILY"}'}, {"tier": "DAILY"}, id="a constant"),
        pytest.param({"InputPath": "$.resources"}, [RULE], id="a part"),
        pytest.param(
            {
                "InputTransformer": {
                    "InputPathsMap": {"time": "$.time", "detail": "$.detail"},
                    "InputTemplate": '{"at": <time>, "say": "due \\"at\\" <time>", "d": <detail>, "tiers": ["DAILY"]}',
                }
            },
            {
                "at": "2026-07-01T03:00:00Z",
                "say": 'due "at" 2026-07-01T03:00:00Z',
                "d": {},
                "tiers": ["DAILY"],
            },
            id="a template with values inside and outside of strings",
        ),
        pytest.param(
            {"InputTransformer": {"InputTemplate": '{"rule": <aws.events.rule-name>}'}},
            {"rule": "coffre-Daily"},
            id="a reserved variable",
        ),
    ],
)
def test_a_target_gets_its_own_input(target: dict[str, Any], expected: object) -> None:
    assert json.loads(target_input(target, EVENT)) == expected
