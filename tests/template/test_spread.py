"""The state machine of spread backups: what Step Functions itself does not check before something goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.template.rendering import ROOT, render

from coffre.model import errors
from coffre.runtime.events.backup import parse_database_backup
from coffre.runtime.state_machine import TRANSITIONS

DEFINITION: Final[dict[str, Any]] = json.loads((ROOT / "statemachine" / "spread.asl.json").read_text())
FUNCTION: Final = "${BackupDatabaseFunction}"
LONGEST_STEP_SECONDS: Final = 900
INPUT: Final = {
    "target": "main",
    "backup_id": "01K9X000000000000000000000",
    "plan": {
        "bucket": "vault",
        "key": "v1/backups/main/01K9X000000000000000000000/plan/groups.jsonl",
        "sha256": "0" * 64,
    },
    "width": 4,
}
# What Lambda itself reports of a function that was killed, could not start, or ran out of time.
OF_LAMBDA: Final = {
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.Unknown",
    "Sandbox.Timedout",
    "States.Timeout",
}


def states(machine: dict[str, Any] = DEFINITION) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every state of a machine, also those of its branches and maps."""
    for name, state in machine["States"].items():
        yield name, state
        for inner in (*state.get("Branches", ()), *filter(None, [state.get("ItemProcessor")])):
            yield from states(inner)


TASKS: Final = {name: state for name, state in states() if state["Type"] == "Task"}


def filled(payload: Any, item: dict[str, Any]) -> Any:
    """Return a payload with the paths of the input replaced; `$$.Map.Item.Value` is an item of the list."""
    if not isinstance(payload, dict):
        return payload
    context = {**INPUT, "caught": {"Error": "States.TaskFailed", "Cause": "{}"}}
    found = {}
    for name, value in payload.items():
        if name.endswith(".$"):
            path = value.removeprefix("$$.Map.Item.Value").removeprefix("$").strip(".")
            found[name.removesuffix(".$")] = (item if value.startswith("$$") else context)[path]
        else:
            found[name] = filled(value, item)
    return found


def machines(machine: dict[str, Any] = DEFINITION) -> Iterator[dict[str, Any]]:
    yield machine
    for state in machine["States"].values():
        for inner in (*state.get("Branches", ()), *filter(None, [state.get("ItemProcessor")])):
            yield from machines(inner)


@pytest.mark.parametrize("machine", list(machines()), ids=lambda machine: machine["StartAt"])
def test_every_way_leads_to_a_state_that_exists_and_to_an_end(machine: dict[str, Any]) -> None:
    own = machine["States"]
    following = {
        name: [
            *filter(None, [state.get("Next"), state.get("Default")]),
            *(one["Next"] for one in (*state.get("Catch", ()), *state.get("Choices", ()))),
        ]
        for name, state in own.items()
    }
    assert {one for after in following.values() for one in after} | {machine["StartAt"]} <= set(own)
    reached, waiting = set[str](), [machine["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += following[name]
    assert reached == set(own)
    assert any(state.get("End") or state["Type"] in ("Succeed", "Fail") for state in own.values())


def test_every_step_is_an_event_of_the_function() -> None:
    [(_, work)] = [(name, state) for name, state in states() if state["Type"] == "Map"]
    sent = {name: state["Parameters"]["Payload"] for name, state in TASKS.items() if name != "StoreGroup"}
    sent["StoreGroup"] = work["ItemSelector"]
    steps = {name: parse_database_backup(filled(payload, {"group": 7})) for name, payload in sent.items()}

    assert {state["Parameters"]["FunctionName"] for state in TASKS.values()} == {FUNCTION}
    assert TASKS["StoreGroup"]["Parameters"]["Payload.$"] == "$"
    assert {name: getattr(event, "step", None) for name, event in steps.items()} == {
        "HoldA": "hold",
        "HoldB": "hold",
        "StoreGroup": "work",
        "Seal": "seal",
        "Settle": "settle",
    }
    assert [getattr(steps[name], "holder", None) for name in ("HoldA", "HoldB")] == ["a", "b"]


def test_each_step_is_counted_with_the_transitions_that_it_is_billed_for() -> None:
    parallel = DEFINITION["States"]["Spread"]
    *holders, work = parallel["Branches"]
    ends = [name for branch in holders for name, state in branch["States"].items() if state["Type"] == "Succeed"]
    start_and_end = 2

    assert len(ends) == len(holders)
    assert [len(branch["States"]) - 1 for branch in holders] == [TRANSITIONS["hold"]] * len(holders)
    assert len(work["States"]["Work"]["ItemProcessor"]["States"]) + start_and_end == TRANSITIONS["work"]
    assert len(work["States"]) - 1 == TRANSITIONS["seal"]
    assert len(DEFINITION["States"]) - 1 == TRANSITIONS["settle"]
    of_the_execution = [*ends, "Spread", "Work"]
    assert len(of_the_execution) + start_and_end == TRANSITIONS["begin"]


def test_no_state_waits_for_less_than_a_function_lives_or_for_ever() -> None:
    for name, state in TASKS.items():
        assert LONGEST_STEP_SECONDS < state["TimeoutSeconds"] <= LONGEST_STEP_SECONDS + 120, name
    assert 24 * 3600 <= DEFINITION["TimeoutSeconds"] <= 7 * 24 * 3600


def test_nothing_is_tolerated_and_nothing_is_used_that_the_local_aws_leaves_out() -> None:
    [work] = [state for _, state in states() if state["Type"] == "Map"]

    assert work["ToleratedFailureCount"] == 0
    assert "ToleratedFailurePercentage" not in work
    assert work["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert work["ItemReader"]["ReaderConfig"] == {"InputType": "JSONL"}
    assert not {"ItemBatcher", "ResultWriter"} & set(work)


def test_results_do_not_go_through_the_states() -> None:
    # A state carries 256 KiB: of thousands of groups not even the smallest answers would fit.
    assert TASKS["StoreGroup"]["ResultSelector"] == {}
    for name, state in states():
        if state["Type"] in ("Map", "Parallel") or name in ("Seal", "Settle"):
            assert state["ResultPath"] is None, name


def test_what_may_pass_is_tried_again_and_what_will_not_ends_the_run() -> None:
    known = {name for name, one in vars(errors).items() if isinstance(one, type)}
    again = {
        name: {error for retry in state["Retry"] for error in retry["ErrorEquals"]}
        for name, state in TASKS.items()
        if name != "Settle"
    }
    for name, tried in again.items():
        assert tried >= OF_LAMBDA - {"Lambda.TooManyRequestsException"}, name
        assert "Lambda.TooManyRequestsException" in tried, name
        own = tried - OF_LAMBDA
        assert own <= known, name
        assert not own & {"PermanentError", "IntegrityError"}, name
    assert TASKS["Settle"]["Retry"][0]["ErrorEquals"] == ["States.ALL"]


def test_whatever_fails_is_settled() -> None:
    spread = DEFINITION["States"]["Spread"]

    assert [(one["ErrorEquals"], one["Next"]) for one in spread["Catch"]] == [(["States.ALL"], "Settle")]
    assert DEFINITION["States"]["Settle"]["Next"] == "Failed"
    assert DEFINITION["States"]["Failed"]["Type"] == "Fail"


def test_the_template_gives_the_machine_its_function_and_the_function_its_machine() -> None:
    deployed = render()
    machine = deployed.resources["SpreadMachine"]["Properties"]
    function = deployed.functions()["BackupDatabaseFunction"]

    assert machine["DefinitionUri"] == "statemachine/spread.asl.json"
    assert machine["Type"] == "STANDARD"
    assert set(machine["DefinitionSubstitutions"]) == {FUNCTION.strip("${}")}
    assert machine["DefinitionSubstitutions"][FUNCTION.strip("${}")].endswith(f":function:{function['FunctionName']}")
    assert function["Environment"]["Variables"]["COFFRE_SPREAD_MACHINE"].endswith(f":stateMachine:{machine['Name']}")


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT", "FAILED"])
def test_an_execution_that_was_stopped_is_settled_by_a_rule(status: str) -> None:
    rule = render().resources["SpreadEndedRule"]["Properties"]
    transformer = rule["Targets"][0]["InputTransformer"]

    assert status in rule["EventPattern"]["detail"]["status"]
    sent = transformer["InputTemplate"].replace("<name>", f'"{INPUT["backup_id"]}"').replace("<status>", f'"{status}"')
    assert json.loads(sent) == {"stopped": INPUT["backup_id"], "status": status}
