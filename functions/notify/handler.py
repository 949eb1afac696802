"""Lambda function `notify`: send alerts on to chats, webhooks and whatever else apprise can reach."""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import notify_function
from coffre.runtime.function import LambdaContext


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/notify/`."""
    return notify_function().handle(event, context)
