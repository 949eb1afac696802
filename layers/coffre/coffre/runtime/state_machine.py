"""The state machines that map the parts of a run over many functions (`statemachine/*.asl.json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from coffre.model.errors import PermanentError, SettingsError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

type MachineStatus = Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"]

_REFUSED: Final = frozenset({"AccessDeniedException", "AccessDenied", "UnrecognizedClientException"})
_MISSING: Final = frozenset({"StateMachineDoesNotExist", "StateMachineDeleting"})
_NO_EXECUTION: Final = frozenset({"ExecutionDoesNotExist"})
TRANSITIONS: Final[Mapping[str, int]] = {"begin": 6, "hold": 2, "work": 3, "seal": 1, "settle": 2}
"""How many state transitions each step is billed for, in `statemachine/spread.asl.json`.

`begin` has those of the execution itself: its start and end, the branches and their ends, the map. A group is an
execution of its own: its start, its step, its end. A step that is tried again counts again.
Source: https://aws.amazon.com/step-functions/pricing/ (read 2026-11-28).
"""
RESTORE_TRANSITIONS: Final[Mapping[str, int]] = {"begin": 4, "share": 3, "load": 2}
"""The same of `statemachine/restore.asl.json`: of the execution, of each share, and of each of its steps."""

RANGES_TRANSITIONS: Final[Mapping[str, int]] = {"begin": 3, "work": 3, "seal": 2, "round": 1, "settle": 2}
"""As `TRANSITIONS`, in `statemachine/ranges.asl.json`: `seal` that begins a `round` is billed for the map too."""

# The same name with another input, or of one that has ended.
_EXISTS: Final = "ExecutionAlreadyExists"


class MachineError(PermanentError):
    """The state machine cannot be used. The message says why."""


@dataclass(frozen=True)
class Machine:
    """Starts, stops and follows executions; the name of each is the id of its run.

    Parameters
    ----------
    arn
        Of the state machine.
    """

    client: SFNClient
    arn: str

    def start(self, run_id: str, given: Mapping[str, Any]) -> None:
        """Start the execution of a run. Asking again for the same run is fine.

        Parameters
        ----------
        given
            The input: names and numbers, at most 256 KiB of JSON.

        Raises
        ------
        MachineError
            `MACHINE_DENIED`, `MACHINE_MISSING`, `MACHINE_RUN_EXISTS`
        TransientError
            `MACHINE_UNAVAILABLE`: Step Functions did not answer, or has too much to do.
        """
        try:
            self.client.start_execution(stateMachineArn=self.arn, name=run_id, input=json.dumps(given, sort_keys=True))
        except (ClientError, BotoCoreError) as error:
            self._explain(error, "started", "states:StartExecution")

    def stop(self, run_id: str, why: str) -> bool:
        """Stop the execution of a run; its functions end by themselves. False: there is none that runs.

        Raises
        ------
        MachineError, TransientError
            As `start` does.
        """
        try:
            self.client.stop_execution(executionArn=self.execution(run_id), error="Stopped", cause=why[:1000])
        except ClientError as error:
            if _code(error) in _NO_EXECUTION:
                return False
            self._explain(error, "stopped", "states:StopExecution")
        except BotoCoreError as error:
            self._explain(error, "stopped", "states:StopExecution")
        return True

    def status(self, run_id: str) -> MachineStatus | None:
        """Return how the execution of a run is; None: there is none. Raises what `start` raises."""
        try:
            return self.client.describe_execution(executionArn=self.execution(run_id))["status"]
        except ClientError as error:
            if _code(error) in _NO_EXECUTION:
                return None
            self._explain(error, "looked at", "states:DescribeExecution")
        except BotoCoreError as error:
            self._explain(error, "looked at", "states:DescribeExecution")

    def execution(self, run_id: str) -> str:
        """Return the ARN of the execution of a run."""
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{run_id}"

    def _explain(self, error: ClientError | BotoCoreError, done: str, right: str) -> NoReturn:
        name, code, detail = self.arn.rpartition(":")[2], _code(error), str(error)[:500]
        if code in _REFUSED:
            raise MachineError(
                f"The state machine {name} could not be {done}: the right to do so is missing.",
                code="MACHINE_DENIED",
                detail=detail,
                hint=f"The caller needs {right} on {self.arn}. The stack's roles have it: deploy the stack again.",
            ) from error
        if code in _MISSING:
            raise MachineError(
                f"There is no state machine {name}.",
                code="MACHINE_MISSING",
                detail=detail,
                hint="Deploy the stack again. Until then limits.spread: never keeps backups in one function each.",
            ) from error
        if code == _EXISTS:
            raise MachineError(
                f"The state machine {name} had an execution of this run before, and it has ended.",
                code="MACHINE_RUN_EXISTS",
                detail=detail,
                hint="Take the backup again: the next run has an id of its own.",
            ) from error
        raise TransientError(
            f"The state machine {name} could not be {done}: Step Functions did not do it.",
            code="MACHINE_UNAVAILABLE",
            detail=detail,
            hint="Run it again. In a VPC, functions need a way to Step Functions (an endpoint, or NAT).",
        ) from error


def machine(client: SFNClient, arn: str | None) -> Machine:
    """Return the state machine that the function's environment names.

    Raises
    ------
    SettingsError
        `MACHINE_MISSING`: it names none.
    """
    if not arn:
        raise SettingsError(
            "This function knows no state machine.",
            code="MACHINE_MISSING",
            hint="COFFRE_SPREAD_MACHINE is set by template.yaml: deploy the stack again.",
        )
    return Machine(client, arn)


def _code(error: Exception) -> str:
    return str(error.response["Error"].get("Code", "")) if isinstance(error, ClientError) else ""
