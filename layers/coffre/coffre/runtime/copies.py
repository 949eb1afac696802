"""The copies of the vault, as functions open them."""

from __future__ import annotations

from coffre.model.copies import Destination
from coffre.runtime.bootstrap import Services
from coffre.runtime.copy_destinations import Opening, open_destination
from coffre.vault.vault import Vault


def open_copy(services: Services, destination: Destination) -> Vault:
    """Return the vault in a destination, opened with this function's clients; raises what `open_destination` raises."""
    opening = Opening(tally=services.metering.tally, session=services.session)
    days = services.settings.vault_lock_max_days
    return open_destination(destination, services.secret, opening, lock_max_days=days)
