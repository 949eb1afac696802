"""Checks of the settings that are backed up."""

from __future__ import annotations

from collections.abc import Iterator

from coffre.model.checkup import Severity
from coffre.policy.checks.check import Finding, check
from coffre.policy.checks.settings_facts import SettingsFacts


@check(
    "SETTINGS_UNREADABLE",
    Severity.BLOCKER,
    SettingsFacts,
    fine="The settings can be listed and read.",
    cure="Name them in the parameters SettingsSecrets or SettingsParameters, and their KMS keys in SettingsKeys.",
)
def settings_unreadable(settings: SettingsFacts) -> Iterator[Finding]:
    """Find settings that the function may not list or read."""
    for folder in settings.folders:
        if folder.listed is not None:
            yield Finding(f"The {folder.name} cannot be listed.", str(folder.listed), folder.listed.hint, folder.name)
        for name, trouble in folder.unread:
            yield Finding(f"{folder.name}/{name} cannot be read.", str(trouble), trouble.hint, f"{folder.name}/{name}")


@check(
    "SETTINGS_UNMATCHED",
    Severity.WARNING,
    SettingsFacts,
    fine="Every pattern of the settings fits a name.",
    cure="Correct the pattern in the configuration, or make what it names: a backup without it has an exception.",
)
def settings_unmatched(settings: SettingsFacts) -> Iterator[Finding]:
    """Find names and patterns that nothing fits."""
    for folder in settings.folders:
        for pattern in folder.unmatched:
            yield Finding(f"None of the {folder.name} has a name like {pattern}.", subject=f"{folder.name}/{pattern}")
