"""A deployment that no person looks at does not leave the vault or the catalog behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from coffre_cli.deploying.change_set import Change, ChangeSet
from coffre_cli.deploying.errors import DeployError
from coffre_cli.deploying.left_vault import refuse_leaving


@dataclass
class Deployed:
    """A stack with its parameters."""

    name: str = "coffre"
    values: dict[str, str] = field(default_factory=lambda: {"VaultPrefix": "a"})
    discarded: list[ChangeSet] = field(default_factory=list)

    def parameters(self) -> dict[str, str]:
        return self.values

    def discard(self, change_set: ChangeSet) -> None:
        self.discarded.append(change_set)


def proposed(*changes: tuple[str, str, str | None], is_new: bool = False) -> ChangeSet:
    made = (Change(action, resource, "AWS::Any", replacement) for action, resource, replacement in changes)
    return ChangeSet("arn", "id", is_new, tuple(made))


@pytest.mark.parametrize(
    ("change_set", "wanted", "left"),
    [
        (proposed(("Remove", "VaultBucket", None)), {"ExistingVaultBucket": "other"}, "its vault"),
        (proposed(("Modify", "VaultBucket", "True"), ("Modify", "CatalogTable", "True")), {}, "vault and its catalog"),
        (proposed(("Modify", "RotateFunction", "False")), {"VaultPrefix": ""}, "the folder of its vault"),
    ],
)
def test_what_would_be_left_is_named_and_nothing_is_changed(
    change_set: ChangeSet, wanted: dict[str, str], left: str
) -> None:
    stack: Any = Deployed()

    with pytest.raises(DeployError, match=left) as refused:
        refuse_leaving(stack, change_set, wanted)

    assert refused.value.code == "VAULT_LEFT"
    assert stack.discarded == [change_set]


@pytest.mark.parametrize(
    ("change_set", "wanted"),
    [
        (proposed(("Modify", "VaultBucket", "False"), ("Remove", "ReportRule", None)), {"VaultPrefix": "a"}),
        (proposed(("Add", "VaultBucket", None), is_new=True), {"VaultPrefix": "b"}),
        (proposed(), {}),
    ],
)
def test_other_changes_are_carried_out(change_set: ChangeSet, wanted: dict[str, str]) -> None:
    stack: Any = Deployed()

    refuse_leaving(stack, change_set, wanted)

    assert stack.discarded == []
