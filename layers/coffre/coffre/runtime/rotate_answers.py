"""The function `rotate`, asked for no rotation: about one backup or run, the configuration, or a key of the API."""

from __future__ import annotations

from typing import Any

from coffre.runtime.api_keys import answer_api_key
from coffre.runtime.bootstrap import Services
from coffre.runtime.cancelling import answer_cancel
from coffre.runtime.configuring import answer_configuration
from coffre.runtime.deletion import decide
from coffre.runtime.events.approval import ApprovalEvent
from coffre.runtime.events.rotate import ApiKeyEvent, ConfigurationEvent, DeletionEvent, RotateEvent
from coffre.runtime.function import LambdaContext
from coffre.runtime.holds import answer_hold
from coffre.runtime.pins import answer_pin


def answer_other(
    services: Services, wanted: DeletionEvent | ConfigurationEvent | ApprovalEvent | ApiKeyEvent, request_id: str
) -> dict[str, Any]:
    """Answer an event that is no RotateEvent."""
    if isinstance(wanted, ConfigurationEvent):
        return answer_configuration(services, wanted, request_id)
    if isinstance(wanted, ApiKeyEvent):
        return answer_api_key(services, wanted)
    return decide(services, wanted, request_id)


def answer_one(services: Services, wanted: RotateEvent, context: LambdaContext) -> dict[str, Any]:
    """Hold, release, pin, unpin or cancel what the event names."""
    if wanted.hold is not None or wanted.release is not None:
        return answer_hold(services, wanted, context).model_dump(mode="json")
    if wanted.cancel is not None:
        return answer_cancel(services, wanted, wanted.cancel).model_dump(mode="json")
    return answer_pin(services, wanted).model_dump(mode="json")
