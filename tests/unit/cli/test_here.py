"""A run in the command's own process, when the command cannot follow it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from coffre.model.errors import IntegrityError
from coffre_cli import here
from coffre_cli.commands.restore.run_database import _event_of
from coffre_cli.here import Interruption, RunHere, StackHere


def test_a_run_here_ends_before_the_error_of_what_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a restore that is in the middle when its record cannot be read: neither the process nor the secret goes."""
    remarks: list[str] = []
    ended: list[str] = []
    is_awaited = threading.Event()

    def remark(text: str) -> None:
        remarks.append(text)
        is_awaited.set()

    monkeypatch.setattr(here, "remark", remark)
    stack = StackHere("coffre", {})
    scope = SimpleNamespace(at=None, model_dump=lambda **_: {})
    ask: Any = SimpleNamespace(wanted=SimpleNamespace(url="URL", text="the destination"), source=None, scope=scope)

    def restore(secret: str) -> dict[str, Any]:
        assert is_awaited.wait(60)
        ended.append(stack._lent[secret])
        return {}

    def follow() -> None:
        with _event_of(stack, ask, None) as event:
            stack._runs.append(RunHere(lambda: restore(event["destination"]), Interruption("restore")))
            raise IntegrityError("The record is damaged.")

    with pytest.raises(IntegrityError, match="damaged"):
        follow()

    assert ended == ["the destination"]
    assert remarks == ["The restore cannot be followed any more. It continues in this process; Ctrl-C stops it."]
    assert stack._lent == {}
