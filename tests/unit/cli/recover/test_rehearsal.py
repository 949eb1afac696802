"""What a rehearsal measured goes to the stack; a stack that does not answer changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coffre.model.recovery import Recovery, Step, StepKind, StepState
from coffre_cli.commands.recover import rehearsal
from coffre_cli.deployed import StackUnreachableError

NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


class Stack:
    """A stack that knows no target but `shop`."""

    asked: Any = None

    def ask(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        self.asked = (function, event)
        return {"noted": ["shop"], "unknown": sorted(event["rehearsed"]["seconds"].keys() - {"shop"})}


def rehearsed(*targets: str) -> Recovery:
    steps = tuple(
        Step(
            name=f"restore {target}",
            kind=StepKind.DATABASE,
            target=target,
            state=StepState.DONE,
            ended_at=NOON + timedelta(minutes=1),
        )
        for target in targets
    )
    return Recovery(
        id="01K9X000000000000000000000", coffre_version="1", began_at=NOON, copy_address="copy", steps=steps
    )


def test_the_times_are_sent_and_targets_that_the_stack_does_not_know_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = Stack()
    monkeypatch.setattr(rehearsal, "find_stack", lambda _: stack)

    rehearsal.note_rehearsal("coffre", rehearsed("shop", "old"))

    seconds = {"old": 60.0, "shop": 60.0}
    assert stack.asked == ("drill", {"rehearsed": {"id": "01K9X000000000000000000000", "seconds": seconds}})
    assert "has no target old" in capsys.readouterr().err


def test_a_stack_that_does_not_answer_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(_: str) -> Stack:
        raise StackUnreachableError("There is no stack coffre.", code="STACK_UNREACHABLE")

    monkeypatch.setattr(rehearsal, "find_stack", gone)

    rehearsal.note_rehearsal("coffre", rehearsed("shop"))
    rehearsal.note_rehearsal("coffre", rehearsed())

    assert capsys.readouterr().err.count("did not note the time") == 1
