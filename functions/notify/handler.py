"""Lambda function `notify`: forward alerts to chats, webhooks and other destinations that apprise can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.bootstrap import once
    from coffre.runtime.notify_function import NotifyFunction

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(NotifyFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/notify/`."""
    return function().handle(event, context)
