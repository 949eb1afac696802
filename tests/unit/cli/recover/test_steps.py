"""Steps of a recovery: what stops one stops no other target, now and when it is resumed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from coffre.model.errors import StoreError
from coffre.model.recovery import Recovery, Step, StepKind, StepState
from coffre_cli.commands.recover import steps
from coffre_cli.commands.recover.progress_file import ProgressFile
from coffre_cli.commands.recover.recovery_run import Run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreError("The store is closed.", code="STORE_DENIED"), "STORE_DENIED"),
        (OSError(28, "No space left on device", "/full/settings"), "FILE_FAILED"),
        (KeyError("a defect"), "DEFECT"),
    ],
)
def test_whatever_stops_a_step_the_next_target_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # of the file with a defect

    def restore(run: Run, step: Step) -> Step:
        if step.target == "first":
            raise error
        return step.model_copy(update={"state": StepState.DONE})

    monkeypatch.setattr(steps, "restore_settings", restore)
    both = tuple(Step(name=f"restore {one}", kind=StepKind.SETTINGS, target=one) for one in ("first", "second"))
    begun: dict[str, Any] = {"began_at": datetime.now(UTC), "copy_address": "copy", "steps": both}
    recovery = Recovery(id="01K9X000000000000000000000", coffre_version="1", **begun)
    run = Run(None, ProgressFile(tmp_path), None, None, None, quiet=True)  # type: ignore[arg-type]

    ended = steps.carry_out(run, recovery)

    assert [step.state for step in ended.steps] == [StepState.FAILED, StepState.DONE]
    assert (ended.steps[0].problem or "").endswith(f"[{code}]")
