"""Writes settings back to where they were: plan, then write what is missing or different. Nothing is deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from coffre.model.errors import CoffreError
from coffre.model.manifest import Entry
from coffre.model.setting import Setting
from coffre.operations.restore_settings.choose import read_setting
from coffre.operations.restore_settings.settings_writer import SettingsPlace
from coffre.vault.sealed_settings import SettingsOpener


class Step(StrEnum):
    """What a restore does with one setting.

    `ONLY_A_FILE`: it has no place in AWS (a file that was handed in, Coffre's own): it is written to a file.
    `FAILED`: the backup lacks it, or its place cannot be read.
    """

    CREATE = "create"
    CHANGE = "change"
    SAME = "same"
    ONLY_A_FILE = "only_a_file"
    FAILED = "failed"


@dataclass(frozen=True)
class Planned:
    """One setting, by name, and what is to be done with it. `error` says why it failed."""

    entry: Entry
    step: Step
    error: CoffreError | None = None

    @property
    def name(self) -> str:
        """The name of its entry."""
        return self.entry.name

    @property
    def writes(self) -> bool:
        """Whether a value is written."""
        return self.step in (Step.CREATE, Step.CHANGE)


@dataclass(frozen=True)
class SettingsRestore:
    """Restores settings of one backup. `places` are by the folder of the names: `secrets`, `parameters`."""

    opener: SettingsOpener
    places: Mapping[str, SettingsPlace]

    def plan(self, entries: Sequence[Entry]) -> list[Planned]:
        """Compare each setting with the value at its place. Nothing is written."""
        return [self._planned(entry) for entry in entries]

    def write(self, planned: Sequence[Planned]) -> Iterator[Planned]:
        """Write what the plan says, and yield each setting with what became of it.

        One that is `SAME` by now is not written. A failure does not stop the others.
        """
        for one in planned:
            yield self._written(one) if one.writes else one

    def _planned(self, entry: Entry) -> Planned:
        place, name = self._place_of(entry)
        try:
            setting = read_setting(self.opener, entry)
            return Planned(entry, Step.ONLY_A_FILE if place is None else _step(place, name, setting))
        except CoffreError as error:
            return Planned(entry, Step.FAILED, error)

    def _written(self, one: Planned) -> Planned:
        place, name = self._place_of(one.entry)
        try:
            setting = read_setting(self.opener, one.entry)
            step = Step.ONLY_A_FILE if place is None else _step(place, name, setting)
            if place is not None and step is Step.CREATE:
                place.create(name, setting)
            elif place is not None and step is Step.CHANGE:
                place.change(name, setting)
            return Planned(one.entry, step)
        except CoffreError as error:
            return Planned(one.entry, Step.FAILED, error)

    def _place_of(self, entry: Entry) -> tuple[SettingsPlace | None, str]:
        folder, _, name = entry.name.partition("/")
        return self.places.get(folder), name


def _step(place: SettingsPlace, name: str, setting: Setting) -> Step:
    there = place.read(name)
    if there is None:
        return Step.CREATE
    return Step.SAME if there == setting.value else Step.CHANGE
