"""Starts the functions that do the work, with the events that the command sends; the console does nothing itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.backup import Status
from coffre.model.errors import BackupStateError, TransientError
from coffre.model.kinds import TargetKind
from coffre.runtime.caller_proof import Audience, sign
from coffre.runtime.events.event import LONGEST_ACTOR
from coffre.runtime.failed_answer import FunctionFailedError
from coffre_console.problems import ProblemError

if TYPE_CHECKING:
    import botocore.session
    from mypy_boto3_lambda import LambdaClient


class NotInvokedError(TransientError):
    """A function could not be invoked: nothing was started."""

    default_code = "INVOKE_FAILED"


class LateError(TransientError):
    """A function has begun, and its answer did not come in time."""

    default_code = "ANSWER_LATE"


@dataclass(frozen=True)
class Signer:
    """Signs events with the console's own credentials: the functions then believe who it says has asked."""

    session: botocore.session.Session
    topic_arn: str
    region: str

    def signed(self, name: str, event: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
        """Return an event for a function of this name with who asked for it, and the proof."""
        named = {**event, "actor": actor.name[:LONGEST_ACTOR]}
        credentials = self.session.get_credentials()
        if credentials is None:
            return named
        audience = Audience.near(self.topic_arn, self.region, name)
        url = audience.sts_url(os.environ)
        return {**named, "proof": sign(named, audience, url, credentials.get_frozen_credentials())}


@dataclass(frozen=True)
class Functions:
    """The functions of one stack."""

    client: LambdaClient
    stack: str
    signer: Signer
    has_notify: bool

    def start(self, function: str, event: Mapping[str, Any], actor: Actor) -> None:
        """Start a function and wait for nothing; raises NotInvokedError."""
        self._invoke(function, event, "Event", actor)

    def ask(self, function: str, event: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
        """Call a function and return its answer.

        Raises
        ------
        FunctionFailedError
            With the code, the words and the advice of the function's own error.
        LateError
            It works longer than the console can wait; it continues.
        NotInvokedError
            Nothing was started.
        """
        found = self._invoke(function, event, "RequestResponse", actor)
        payload = found["Payload"].read()
        answer = json.loads(payload) if payload else None
        if "FunctionError" in found or not isinstance(answer, dict):
            raise FunctionFailedError.of(function, answer)
        if isinstance(failure := answer.get("failure"), dict):
            raise FunctionFailedError(str(failure["message"]), code=failure.get("code"), hint=failure.get("hint"))
        return answer

    def _invoke(
        self, function: str, event: Mapping[str, Any], how: Literal["Event", "RequestResponse"], actor: Actor
    ) -> Any:
        name = f"{self.stack}-{function.replace('_', '-')}"
        # notify is for the stack itself: its events name no one.
        sent = dict(event) if function == "notify" else self.signer.signed(name, event, actor)
        try:
            return self.client.invoke(FunctionName=name, InvocationType=how, Payload=json.dumps(sent).encode())
        except ReadTimeoutError as error:
            raise LateError(
                f"The function {function} has begun, and its answer did not come in time.",
                hint="It continues. Look at what it works on in a minute.",
            ) from error
        except (ClientError, BotoCoreError) as error:
            raise NotInvokedError(
                f"The function {function} could not be started.",
                hint="Nothing was started. Repeat the request in a minute; the console's log has AWS's answer.",
            ) from error


def function_of(kind: TargetKind) -> str:
    """Return the function that backs up targets of a kind."""
    return "backup_storage" if kind.has_objects else "backup_database"


def begin_backup(
    catalog: Catalog,
    functions: Functions,
    target: str,
    kind: TargetKind,
    actor: Actor,
    now: datetime,
    **fields: object,
) -> str:
    """Start a backup of a target and return its id, unless one of it runs or was just started.

    Two requests at the same time claim the start in the catalog, and one of them gets it. A schedule does not claim:
    between its run and this one the function's lock decides.

    Raises
    ------
    ProblemError
        409, naming the run.
    NotInvokedError
        Nothing was started, and the request can be repeated.
    """
    running = next((one.id for one in catalog.backups(status=Status.IN_PROGRESS) if one.target == target), None)
    if running is not None:
        raise _running(target, running)
    backup_id = str(ULID.from_datetime(now))
    started = catalog.starts.claim(target, backup_id, now, has_ended=lambda known: _has_ended(catalog, known))
    if started is not None:
        raise _running(target, started)
    event = {"target": target, "backup_id": backup_id, **{name: value for name, value in fields.items() if value}}
    try:
        functions.start(function_of(kind), event, actor)
    except NotInvokedError:
        catalog.starts.release(target, backup_id, now)
        raise
    return backup_id


def _has_ended(catalog: Catalog, backup_id: str) -> bool:
    try:
        return catalog.get_backup(backup_id).status is not Status.IN_PROGRESS
    except BackupStateError:
        return False


def _running(target: str, backup_id: str) -> ProblemError:
    began = ULID.from_str(backup_id).datetime
    return ProblemError(
        409,
        "BACKUP_RUNNING",
        f"A backup of {target} runs already: {backup_id}, since {began:%H:%M} UTC.",
        f"Wait for it (GET /api/v1/backups/{backup_id}), or cancel it first.",
        headers={"location": f"/api/v1/backups/{backup_id}", "retry-after": "60"},
    )
