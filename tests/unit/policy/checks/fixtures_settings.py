"""Facts about the settings of a target."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.settings_facts import SettingsFacts, SettingsFolder

SECRETS: Final = SettingsFolder("secrets")
DENIED: Final = Trouble("STORE_DENIED", "It was denied.", "Allow it.")

HEALTHY: Final[Facts] = facts_of(SettingsFacts((SECRETS,)))
FIXTURES: Final = (
    Fixture(
        "SETTINGS_UNREADABLE",
        provokes=(
            SettingsFacts((SettingsFolder("parameters", listed=DENIED), replace(SECRETS, unread=(("db", DENIED),)))),
        ),
        spares=(SettingsFacts((SECRETS,)),),
    ),
    Fixture(
        "SETTINGS_UNMATCHED",
        provokes=(SettingsFacts((replace(SECRETS, unmatched=("app/*",)),)),),
        spares=(SettingsFacts(()),),
    ),
)
