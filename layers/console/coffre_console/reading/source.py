"""Where everything is read that the console shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from coffre.catalog.catalog import Catalog
from coffre.model.configuration import Configuration
from coffre.policy.prices import Prices
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

type May = Callable[[str], bool]
"""Whether a target may be seen by who asks."""


def everyone(target: str) -> bool:
    """Let every target be seen."""
    del target
    return True


@dataclass(frozen=True)
class Source:
    """One deployment, as one request sees it.

    Parameters
    ----------
    configuration
        Reads the configuration that is in effect, with the databases that were found on servers.
    vault
        Its records (manifests, marks, reports) are read, never its packs.
    rules
        The rules of the stack by job; None: it does not name them.
    prices
        Those of the stack's region.
    now
        When the request came: one time for everything that it shows.
    """

    catalog: Catalog
    configuration: Callable[[], Configuration]
    vault: Vault
    events: EventBridgeClient
    rules: Mapping[str, str] | None
    prices: Prices | None
    now: datetime
