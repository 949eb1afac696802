"""Where everything is read that the console shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Final

from coffre.catalog.catalog import Catalog
from coffre.model.configuration import Configuration
from coffre.policy.prices import Prices

if TYPE_CHECKING:
    from coffre.operations.status.schedules import ReadSchedule
    from coffre.vault.vault import Vault

_OPENING: Final = Lock()

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
    open_vault
        Opens the vault, which few pages read.
    schedule
        Reads the schedule of a job.
    rules
        The rules of the stack by job; None: it does not name them.
    prices
        Those of the stack's region.
    now
        When the request came: one time for everything that it shows.
    """

    catalog: Catalog
    configuration: Callable[[], Configuration]
    open_vault: Callable[[], Vault]
    schedule: ReadSchedule
    rules: Mapping[str, str] | None
    prices: Prices | None
    now: datetime

    @cached_property
    def vault(self) -> Vault:
        """Its records (manifests, marks, reports) are read, never its packs."""
        with _OPENING:  # Threads of a request share it, and botocore makes one client of a session at a time.
            return self.open_vault()
