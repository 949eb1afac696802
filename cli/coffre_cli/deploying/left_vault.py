"""What a deployment would leave behind: the vault or the catalog, with every backup until then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from coffre_cli.deploying.change_set import ChangeSet, Stack
from coffre_cli.deploying.errors import DeployError

_KEPT: Final = {"VaultBucket": "its vault", "CatalogTable": "its catalog"}
_PREFIX: Final = "VaultPrefix"


def refuse_leaving(stack: Stack, proposed: ChangeSet, wanted: Mapping[str, str]) -> None:
    """Refuse, and discard, a change after which a stack that exists works with another vault or catalog.

    Raises
    ------
    DeployError
        `VAULT_LEFT`
    """
    left = [
        _KEPT[change.resource]
        for change in proposed.changes
        if change.resource in _KEPT and (change.action == "Remove" or change.replacement == "True")
    ]
    if not proposed.is_new and _PREFIX in wanted and wanted[_PREFIX] != stack.parameters().get(_PREFIX, ""):
        left.append(f"the folder of its vault ({_PREFIX})")
    if not left:
        return
    stack.discard(proposed)
    raise DeployError(
        f"After this deployment the stack {stack.name} would not use {' and '.join(left)} any more.",
        code="VAULT_LEFT",
        detail="Bucket and table stay, but the stack would begin with a new one: no backup until now would be in it.",
        hint="Nothing was changed. Correct the parameters (ExistingVaultBucket, VaultPrefix); if it is meant, look at "
        "the changes and confirm them: run this without --yes.",
    )
