"""The state machine of spread backups of buckets: what Step Functions itself does not check before it is needed."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from tests.template.rendering import ROOT, render
from tests.template.test_spread import OF_LAMBDA, filled, states

from coffre.model import errors
from coffre.runtime.events.backup import parse_storage_backup
from coffre.runtime.events.spread import RangeStepEvent
from coffre.runtime.state_machine import RANGES_TRANSITIONS

DEFINITION: Final[dict[str, Any]] = json.loads((ROOT / "statemachine" / "ranges.asl.json").read_text())
STATES: Final = DEFINITION["States"]
TASKS: Final = {name: state for name, state in states(DEFINITION) if state["Type"] == "Task"}
WORK: Final = STATES["Work"]


def test_every_way_leads_to_an_end_and_whatever_fails_is_settled() -> None:
    following = {
        name: {
            *filter(None, [state.get("Next"), state.get("Default")]),
            *(one["Next"] for one in (*state.get("Catch", ()), *state.get("Choices", ()))),
        }
        for name, state in STATES.items()
    }

    assert DEFINITION["StartAt"] == "Seal"
    assert following == {
        "Seal": {"IsOver", "Settle"},
        "IsOver": {"Done", "Work"},
        "Work": {"Seal", "Settle"},
        "Done": set(),
        "Settle": {"Failed"},
        "Failed": set(),
    }
    assert [STATES[name]["Catch"][0]["ErrorEquals"] for name in ("Seal", "Work")] == [["States.ALL"]] * 2
    assert (STATES["Done"]["Type"], STATES["Failed"]["Type"]) == ("Succeed", "Fail")


def test_every_step_is_an_event_of_the_function() -> None:
    sent = {name: state["Parameters"]["Payload"] for name, state in TASKS.items() if name != "StoreRange"}
    place = {"bucket": "vault", "key": "v1/backups/files/X/plan/ranges-000001.jsonl", "sha256": "0" * 64}
    steps = {}
    for name, payload in {**sent, "StoreRange": WORK["ItemSelector"]}.items():
        constant = {key: value for key, value in payload.items() if key != "ranges.$"}
        given = {"ranges": place} if "ranges.$" in payload else {}
        steps[name] = parse_storage_backup({**filled(constant, {"group": 7}), **given})

    assert {state["Parameters"]["FunctionName"] for state in TASKS.values()} == {"${BackupStorageFunction}"}
    assert TASKS["StoreRange"]["Parameters"]["Payload.$"] == "$"
    found = {name: step.step for name, step in steps.items() if isinstance(step, RangeStepEvent)}
    assert found == {"Seal": "seal", "StoreRange": "work", "Settle": "settle"}


def test_steps_are_counted_and_wait_long_enough_and_nothing_is_tolerated() -> None:
    start_and_end, done, inner = 2, 1, len(WORK["ItemProcessor"]["States"])
    assert {
        "begin": start_and_end + done,
        "work": inner + start_and_end,
        "seal": len(["Seal", "IsOver"]),
        "round": len(["Work"]),
        "settle": len(["Settle", "Failed"]),
    } == RANGES_TRANSITIONS
    assert all(900 < state["TimeoutSeconds"] <= 1020 for state in TASKS.values())
    assert WORK["ToleratedFailureCount"] == 0
    assert WORK["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert WORK["ItemReader"]["ReaderConfig"] == {"InputType": "JSONL"}
    assert not {"ItemBatcher", "ResultWriter", "ToleratedFailurePercentage"} & set(WORK)
    # Names of objects stay in the vault: only numbers, and where the list is, pass through the states.
    assert WORK["ItemSelector"]["group.$"] == "$$.Map.Item.Value.group"
    assert [value for value in WORK["ItemSelector"].values() if "Item.Value" in value] == ["$$.Map.Item.Value.group"]
    assert (WORK["ResultPath"], TASKS["StoreRange"]["ResultSelector"]) == (None, {})
    known = {name for name, one in vars(errors).items() if isinstance(one, type)}
    for name in ("Seal", "StoreRange"):
        tried = {error for retry in TASKS[name]["Retry"] for error in retry["ErrorEquals"]}
        assert tried >= OF_LAMBDA
        assert tried - OF_LAMBDA <= known - {"PermanentError", "IntegrityError"}


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT", "FAILED"])
def test_the_template_wires_the_machine_its_function_and_the_rule_that_settles(status: str) -> None:
    deployed = render()
    machine = deployed.resources["RangesMachine"]["Properties"]
    function = deployed.functions()["BackupStorageFunction"]
    rule = deployed.resources["RangesEndedRule"]["Properties"]

    assert (machine["DefinitionUri"], machine["Type"]) == ("statemachine/ranges.asl.json", "STANDARD")
    assert machine["DefinitionSubstitutions"]["BackupStorageFunction"].endswith(f":{function['FunctionName']}")
    assert function["Environment"]["Variables"]["COFFRE_RANGES_MACHINE"].endswith(f":stateMachine:{machine['Name']}")
    assert status in rule["EventPattern"]["detail"]["status"]
    sent = rule["Targets"][0]["InputTransformer"]["InputTemplate"]
    sent = sent.replace("<name>", '"01K9X000000000000000000000"').replace("<status>", f'"{status}"')
    assert json.loads(sent) == {"stopped": "01K9X000000000000000000000", "status": status}
