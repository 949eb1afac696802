"""The state machine of restores whose rows are shared: what Step Functions does not check by itself."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.template.rendering import ROOT, render
from tests.template.test_spread import LONGEST_STEP_SECONDS, OF_LAMBDA, states

from coffre.model import errors
from coffre.runtime.events.restore import RestoreShareEvent, RestoreStoppedEvent, parse_restore
from coffre.runtime.state_machine import RESTORE_TRANSITIONS

DEFINITION: Final[dict[str, Any]] = json.loads((ROOT / "statemachine" / "restore.asl.json").read_text())
FUNCTION: Final = "${RestoreFunction}"
ID: Final = "01K9X000000000000000000000"
INPUT: Final = {
    "restore": {"backup_id": ID, "destination": "coffre/destination/x", "restore_id": ID, "invocation": 2},
    "sharing": ID,
    "shares": [0, 1],
    "width": 2,
    "streams": 4,
}


def sent(payload: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return a payload with its paths replaced; `$$.Map.Item.Value` is an item of the list."""
    context = {"$$.Map.Item.Value": 1} | {f"$.{name}": value for name, value in given.items()}
    return {
        name.removesuffix(".$"): context[value] if name.endswith(".$") else value for name, value in payload.items()
    }


def test_the_definition_says_what_the_function_expects_and_continues_whatever_fails() -> None:
    load, go_on = (DEFINITION["States"][name] for name in ("Load", "Continue"))
    inner = load["ItemProcessor"]["States"]
    step = inner["LoadShare"]
    event = parse_restore(sent(step["Parameters"]["Payload"], sent(load["ItemSelector"], INPUT)))

    assert isinstance(event, RestoreShareEvent)
    assert (event.step, event.share, event.width, event.restore.invocation) == ("load", 1, 2, 2)
    assert load["ItemsPath"] == "$.shares"
    assert go_on["Parameters"] == {"FunctionName": FUNCTION, "InvocationType": "Event", "Payload.$": "$.restore"}
    assert load["Next"] == "Continue"
    assert [(one["ErrorEquals"], one["Next"]) for one in load["Catch"]] == [(["States.ALL"], "Continue")]
    assert step["Next"] == "IsOver"
    assert inner["IsOver"]["Default"] == "LoadShare"
    assert inner["IsOver"]["Choices"] == [{"Variable": "$.loaded.over", "BooleanEquals": True, "Next": "Loaded"}]
    assert step["ResultPath"] == "$.loaded"
    assert load["ToleratedFailureCount"] == 0
    assert not {"ItemBatcher", "ResultWriter", "ItemReader"} & set(load)
    for _, task in states(DEFINITION):
        if task["Type"] == "Task":
            assert LONGEST_STEP_SECONDS < task["TimeoutSeconds"] <= LONGEST_STEP_SECONDS + 120
    tried = {error for retry in step["Retry"] for error in retry["ErrorEquals"]}
    own = tried - OF_LAMBDA
    assert tried >= OF_LAMBDA
    assert (
        own
        == {"TransientError", "CatalogError"}
        <= {name for name, one in vars(errors).items() if isinstance(one, type)}
    )


def test_transitions_are_counted_as_they_are_billed() -> None:
    start_and_end = 2
    inner = DEFINITION["States"]["Load"]["ItemProcessor"]["States"]

    assert len(DEFINITION["States"]) + start_and_end == RESTORE_TRANSITIONS["begin"]
    assert sum(state["Type"] == "Succeed" for state in inner.values()) + start_and_end == RESTORE_TRANSITIONS["share"]
    assert sum(state["Type"] != "Succeed" for state in inner.values()) == RESTORE_TRANSITIONS["load"]


def test_the_template_gives_the_machine_its_function_and_a_stopped_one_is_settled_by_a_rule() -> None:
    deployed = render()
    machine = deployed.resources["SpreadRestoreMachine"]["Properties"]
    function = deployed.functions()["RestoreFunction"]
    rule = deployed.resources["SpreadRestoreEndedRule"]["Properties"]
    template = rule["Targets"][0]["InputTransformer"]["InputTemplate"]

    assert (machine["DefinitionUri"], machine["Type"]) == ("statemachine/restore.asl.json", "STANDARD")
    assert machine["DefinitionSubstitutions"][FUNCTION.strip("${}")].endswith(f":function:{function['FunctionName']}")
    assert function["Environment"]["Variables"]["COFFRE_SPREAD_MACHINE"].endswith(f":stateMachine:{machine['Name']}")
    assert rule["EventPattern"]["detail"]["stateMachineArn"][0].endswith(f":stateMachine:{machine['Name']}")
    for status in ("ABORTED", "TIMED_OUT", "FAILED"):
        assert status in rule["EventPattern"]["detail"]["status"]
        said = template.replace("<name>", f'"{ID}-12-{ID}"').replace("<status>", f'"{status}"')
        event = parse_restore(json.loads(said))
        assert isinstance(event, RestoreStoppedEvent)
        assert (event.restore_id, event.invocation, event.owner_id) == (ID, 12, ID)
