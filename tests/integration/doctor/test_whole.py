"""Doctor in the function as it is deployed: what all targets need is looked at too, within the role's privileges."""

from __future__ import annotations

from tests.integration.conftest import Coffre
from tests.unit.policy.checks.fixtures_database import HEALTHY

from coffre.model.checkup import Checkup, State
from coffre.policy.checks.registry import CHECKS


def test_the_vault_and_earlier_runs_are_looked_at_with_the_database(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    coffre.backup()

    checkup = Checkup.model_validate(coffre.backup(doctor=True))

    looked_at = {one.code for one in checkup.results if one.state is not State.COULD_NOT_LOOK}
    of_databases = {check.code for check in CHECKS if set(check.needs) <= set(HEALTHY)}
    assert of_databases <= looked_at
    assert looked_at - of_databases
    assert [one.id for one in coffre.backups()] == [coffre.backups()[0].id]
