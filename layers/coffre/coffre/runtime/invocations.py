"""Further invocations of a function, started by the function itself without waiting for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from coffre.model.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

INVOKE_FAILED: Final = "INVOKE_FAILED"
# A day of invocations of a quarter of an hour: work that needs longer will not end.
MOST_INVOCATIONS: Final = 96
ROLE_HINT: Final = "The function's role needs lambda:InvokeFunction on itself."


def start(client: LambdaClient, function: str, event: Mapping[str, Any]) -> None:
    """Start one invocation.

    Raises
    ------
    TransientError
        `INVOKE_FAILED`
    """
    try:
        client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event).encode())
    except (ClientError, BotoCoreError) as error:
        raise TransientError(
            f"An invocation of {function} could not be started.",
            code=INVOKE_FAILED,
            detail=str(error)[:500],
            hint=ROLE_HINT,
        ) from error


def start_each(
    client: LambdaClient, function: str, events: Iterable[tuple[str, Mapping[str, Any]]], work: str
) -> list[str]:
    """Start one invocation for each target's event, so that a slow or broken target cannot harm another.

    Parameters
    ----------
    events
        Pairs of a target and its event. A target can have several.
    work
        What each invocation does, for messages: `backup`.

    Returns
    -------
    list[str]
        The targets, in the order of the events.

    Raises
    ------
    TransientError
        `INVOKE_FAILED`, naming every target whose invocation could not be started. The others were started.
    """
    refused = {}
    started = []
    for target, event in events:
        try:
            start(client, function, event)
            started.append(target)
        except TransientError as error:
            refused[target] = (error.detail or "")[:200]
    if refused:
        raise TransientError(
            f"The {work} of {', '.join(sorted(refused))} could not be started.",
            code=INVOKE_FAILED,
            detail="; ".join(f"{name}: {text}" for name, text in refused.items()),
            hint=f"Lambda tries it again. {ROLE_HINT}",
        )
    return list(dict.fromkeys(started))


def start_next(client: LambdaClient, function: str, event: Mapping[str, Any], *, what: str, hint: str) -> None:
    """Start the next invocation of work that one invocation could not finish.

    Parameters
    ----------
    what
        The work, as the subject of a sentence: `The restore`.
    hint
        What the operator can do when it cannot be started.

    Raises
    ------
    TransientError
        `INVOKE_FAILED`
    """
    try:
        start(client, function, event)
    except TransientError as error:
        raise TransientError(
            f"{what} could not continue in another invocation.",
            code=INVOKE_FAILED,
            detail=error.detail,
            hint=f"{ROLE_HINT} {hint}",
        ) from error
