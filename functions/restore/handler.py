"""Lambda function `restore`: restore one backup into a new or empty database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.bootstrap import once
    from coffre.runtime.restore_function import RestoreFunction

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(RestoreFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/restore/`."""
    return function().handle(event, context)
