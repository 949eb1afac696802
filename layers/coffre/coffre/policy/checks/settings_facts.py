"""What is known about the settings of a target: secrets, parameters, and Coffre's own."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.policy.checks.answers import Trouble


@dataclass(frozen=True, slots=True)
class SettingsFolder:
    """One folder of settings as the backup function sees it with its own role.

    Attributes
    ----------
    listed
        What listing raised; None: nothing.
    unread
        Names that could not be read, each with what reading it raised. Values are read and forgotten.
    unmatched
        Patterns of the configuration that fit nothing.
    """

    name: str
    listed: Trouble | None = None
    unread: tuple[tuple[str, Trouble], ...] = ()
    unmatched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsFacts:
    """The folders of one target."""

    folders: tuple[SettingsFolder, ...]
