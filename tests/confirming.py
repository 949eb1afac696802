"""The one way in which tests overwrite something: the dry run, its plan and token, then the run with both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

type Invoke = Callable[[dict[str, Any]], dict[str, Any]]


def dry_run_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event of the dry run."""
    asked = {name: value for name, value in event.items() if name != "restore_id"}
    inner = next((name for name in ("storage", "delete") if name in asked), None)
    if inner is None:
        return {**asked, "dry_run": True}
    return {**asked, inner: {**asked[inner], "dry_run": True}}


def with_confirmation(invoke: Invoke, event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event with the token and the name of the plan that its dry run answers."""
    answer = invoke(dry_run_of(event))
    return {**event, "confirmation": {"token": answer["token"], "name": answer["plan"]["name"]}}


def overwrites(event: Mapping[str, Any]) -> bool:
    """Return whether an event needs a confirmation."""
    if event.get("invocation", 1) > 1 or "confirmation" in event:
        return False
    storage = event.get("storage")
    if storage is not None:
        return storage.get("mode", "missing") != "missing" and not storage.get("dry_run")
    return any(event.get(name) for name in ("replace", "apply", "restart")) and not event.get("dry_run")
