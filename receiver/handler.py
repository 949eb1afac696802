"""Lambda function of the receiving account: delete the copies that have outlived their days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.bootstrap import once
    from coffre.runtime.receiver_function import ReceiverFunction

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(ReceiverFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Rotate: `{}`, or `{"dry_run": true}`."""
    return function().handle(event, context)
