"""Lambda function `notify`: forward alerts to chats, webhooks and other destinations that apprise can reach."""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import once
from coffre.runtime.function import LambdaContext
from coffre.runtime.notify_function import NotifyFunction

function = once(NotifyFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/notify/`."""
    return function().handle(event, context)
