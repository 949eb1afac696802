"""A run in the command's own process, when the command cannot follow it."""

from __future__ import annotations

import threading

import pytest

from coffre.model.errors import IntegrityError
from coffre_cli import here
from coffre_cli.follow import left_on_interrupt
from coffre_cli.here import Interruption, RunHere, StackHere


def test_a_run_here_ends_before_the_error_of_what_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a backup that is in the middle when its record cannot be read: the process does not end under it."""
    remarks: list[str] = []
    ended: list[dict[str, str]] = []
    is_awaited = threading.Event()

    def remark(text: str) -> None:
        remarks.append(text)
        is_awaited.set()

    def back_up() -> dict[str, str]:
        assert is_awaited.wait(60)
        ended.append({"status": "COMPLETED"})
        return ended[0]

    monkeypatch.setattr(here, "remark", remark)
    stack = StackHere("coffre", {})
    stack._runs.append(RunHere(back_up, Interruption("backup")))

    with pytest.raises(IntegrityError, match="damaged"), left_on_interrupt(stack, "backup"):
        raise IntegrityError("The record is damaged.")

    assert ended == [{"status": "COMPLETED"}]
    assert remarks == ["The backup cannot be followed any more. It continues in this process; Ctrl-C stops it."]
