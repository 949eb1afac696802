"""What an attempt clears after an error, and that it clears nothing once another attempt has taken the restore over."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from coffre.model.errors import DestinationError, RestoreError
from coffre.operations.restore_database import data_only, gone_tables, staged_rows


class Clearing(Protocol):
    def __call__(self, memory: Any) -> AbstractContextManager[None]: ...


CLEARINGS: list[tuple[Any, Clearing]] = [
    (staged_rows, lambda memory: staged_rows._dropped_on_error(memory)),
    (gone_tables, lambda memory: gone_tables._dropped_on_error(memory, SimpleNamespace(dependencies=()), [1])),  # type: ignore[arg-type]
    (data_only, lambda memory: data_only._emptied_on_error(memory, {})),
]


@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.parametrize(("module", "clearing"), CLEARINGS, ids=lambda one: getattr(one, "__name__", ""))
def test_only_an_attempt_that_still_has_the_restore_clears(
    monkeypatch: pytest.MonkeyPatch, module: Any, clearing: Clearing, is_ours: bool
) -> None:
    opened = []

    def session(_: object) -> Any:
        opened.append(module)
        raise DestinationError("no session in this test")

    monkeypatch.setattr(module, "clearing_session", session)
    job = SimpleNamespace(
        children=SimpleNamespace(has_paused=False), restore_id="01K9X000000000000000000000", scope=None
    )
    job.owner_id = job.restore_id
    memory = SimpleNamespace(job=job, is_ours=lambda: is_ours, done=[])

    with pytest.raises(RestoreError, match="refused"), clearing(memory):
        raise RestoreError("refused")

    assert bool(opened) is is_ours
