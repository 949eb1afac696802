"""Telling people how a recovery ended: a topic, or a webhook. Its address is a secret, and in no error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from coffre.model.errors import SecretError, TransientError
from coffre.model.recovery import Recovery

_TIMEOUT_SECONDS: Final = 10.0
_OK: Final = 300
_SUBJECT: Final = 100


class NotifyError(TransientError):
    """The notification could not be sent."""

    default_code = "NOTIFICATION_NOT_SENT"


def address_of(reference: str) -> str:
    """Return the ARN of a topic, or the URL that a variable or a file holds.

    Raises
    ------
    SecretError
        `NOTIFY_SHAPE`
    """
    if reference.startswith("arn:"):
        return reference
    text = ""
    if reference.startswith("env:"):
        text = os.environ.get(reference.removeprefix("env:"), "")
    elif "://" not in reference:
        try:
            text = Path(reference).expanduser().read_text()
        except (OSError, UnicodeDecodeError):
            text = ""
    text = text.strip()
    if not text.startswith(("https://", "http://", "arn:")):
        raise SecretError(
            "--notify names no topic and no webhook.",
            code="NOTIFY_SHAPE",
            hint="Give the ARN of a topic; or a variable (env:NAME) or a file with one URL: a webhook's address is a "
            "secret, and other users of this machine can read arguments.",
        )
    return text


def send(reference: str, sentence: str, recovery: Recovery) -> None:
    """Send how a recovery ended.

    Raises
    ------
    NotifyError
        No person was reached. The recovery itself is not affected.
    """
    address = address_of(reference)
    lines = [
        f"{step.name}: {step.state.value}{f' ({step.problem})' if step.problem else ''}" for step in recovery.steps
    ]
    text = "\n".join([sentence, *lines[:-1]])
    if address.startswith("arn:"):
        _publish(address, sentence, text)
    else:
        _post(address, text)


def _publish(topic: str, subject: str, text: str) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        region = topic.split(":")[3] or None
        boto3.client("sns", region_name=region).publish(TopicArn=topic, Subject=subject[:_SUBJECT], Message=text)
    except (BotoCoreError, ClientError, IndexError) as error:
        raise NotifyError("The topic could not be reached.", detail=str(error)[:300]) from error


def _post(url: str, text: str) -> None:
    import urllib3

    try:
        answer = urllib3.PoolManager(retries=False).request(
            "POST",
            url,
            body=json.dumps({"text": text}).encode(),
            headers={"Content-Type": "application/json"},
            timeout=_TIMEOUT_SECONDS,
            redirect=False,
        )
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        # Not its text, which repeats the address.
        raise NotifyError(f"The webhook could not be reached: {type(error).__name__}.") from None
    if answer.status >= _OK:
        raise NotifyError(f"The webhook answered {answer.status}.")
