"""Lambda function `drill`: restore a backup into a scratch server and prove that it is what was backed up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.bootstrap import once
    from coffre.runtime.drill_function import DrillFunction

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(DrillFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/drill/`."""
    return function().handle(event, context)
