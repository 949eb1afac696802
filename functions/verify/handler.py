"""Lambda function `verify`: check that backups are recent, complete, and as they were stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.bootstrap import once
    from coffre.runtime.verify_function import VerifyFunction

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(VerifyFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/verify/`."""
    return function().handle(event, context)
