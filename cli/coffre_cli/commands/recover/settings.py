"""The step of settings: back to AWS as new versions, or into files; a rehearsal opens and compares them alone."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coffre.model.errors import CoffreError, DestinationError, ExportError
from coffre.model.names import visible
from coffre.model.recovery import Step, StepState
from coffre.model.words import counted
from coffre.operations.restore_settings.choose import choose_settings, read_setting
from coffre.operations.restore_settings.restore import Planned, SettingsRestore
from coffre.operations.restore_settings.restore import Step as Deed
from coffre.operations.restore_settings.settings_writer import Parameters, Secrets, SettingsPlace
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.policy.file_names import FileNames
from coffre.vault.sealed_settings import SettingsOpener
from coffre_cli.aws import client
from coffre_cli.commands.recover.destinations import refuse_used, settings_place_of
from coffre_cli.commands.restore.settings import account_of_settings, described
from coffre_cli.output_file import new_directory, new_file

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.manifest import Entry
    from coffre_cli.commands.recover.recovery_run import Run
    from coffre_cli.standalone import StandaloneVault

# Names of what Coffre itself keeps in a backup of settings begin so: a new stack has its own.
_OWN: Final = "coffre/"
_OTHERWISE: Final = "Or have them written to files: --to TARGET=directory:/PATH"


def plan_settings(place: StandaloneVault, step: Step, safety: str | None) -> Step:
    """Compare each setting with what exists at the destination, by name; nothing is changed.

    Raises
    ------
    DestinationError
        The destination cannot be read, or is a directory in use.
    """
    del safety  # versions before stay
    where = settings_place_of(step.target, step.reference)
    destination = account_of_settings(_OTHERWISE) if where is None else f"the directory {where}"
    if where is not None:
        refuse_used(where)
    planned = _planned(place, place.catalog.get_backup(step.backup_id), where)
    _refuse_unreachable(planned)
    names = (visible(one.name) for one in planned) if where else (described(one, is_dry=True) for one in planned)
    return step.model_copy(update={"destination": destination, "is_new": where is not None, "names": tuple(names)})


def restore_settings(run: Run, step: Step) -> Step:
    """Write what is missing or different, and say what became of it.

    Raises
    ------
    CoffreError
        Nothing can be written.
    """
    backup = run.backup_of(step)
    if run.ground.is_scratch:
        return _compared(run, step, backup)
    where = settings_place_of(step.target, step.reference)
    if where is not None:
        return _as_files(run, step, backup, where)
    job, entries = _job(run.place, backup, where)
    # What an earlier attempt has put back stays as it is by now: a person may have given it another value since.
    done = list(job.write(job.plan([entry for entry in entries if entry.name not in step.kept])))
    kept = (*step.kept, *(one.name for one in done if one.writes or one.step is Deed.SAME))
    refused = [one for one in done if isinstance(one.error, DestinationError)]
    if refused:
        said = "; ".join(described(one, is_dry=False) for one in refused)
        return step.model_copy(update={"state": StepState.FAILED, "problem": said, "kept": kept})
    exceptions = [described(one, is_dry=False) for one in done if one.error is not None]
    exceptions += [
        f"{visible(one.name)} has no place in AWS. Write it to a file: {run.place.command} restore settings "
        f"{backup.id} --name '{visible(one.name)}' --output FILE"
        for one in done
        if one.step is Deed.ONLY_A_FILE and not one.name.startswith(_OWN)
    ]
    before = f"{counted(len(step.kept), 'setting')} before the interruption, " if step.kept else ""
    note = f"{before}{_counts(done)}. New secrets have the account's own KMS key."
    return _done(step.model_copy(update={"kept": kept}), len(kept), tuple(exceptions), note)


def _job(place: StandaloneVault, backup: Backup, where: Path | None) -> tuple[SettingsRestore, tuple[Entry, ...]]:
    """Return what restores the settings to AWS, or (with a directory) only opens them, and the settings."""
    manifest = open_manifest(place.vault, backup)
    opener = SettingsOpener(place.vault, place.decoder_of(backup).of_recipients(manifest.recipients))
    places: dict[str, SettingsPlace] = {}
    if where is None:
        # KMS keys of a lost account do not exist any more.
        places = {"secrets": Secrets(client("secretsmanager"), True), "parameters": Parameters(client("ssm"), True)}
    return SettingsRestore(opener, places), choose_settings(place.vault, manifest, ())


def _planned(place: StandaloneVault, backup: Backup, where: Path | None) -> list[Planned]:
    job, entries = _job(place, backup, where)
    return job.plan(entries)


def _refuse_unreachable(planned: list[Planned]) -> None:
    """Refuse a place that does not answer: what is wrong with the backup itself is reported, and stops nothing."""
    for one in planned:
        if isinstance(one.error, DestinationError):
            one.error.hint = f"{one.error.hint or ''} {_OTHERWISE}".strip()
            raise one.error


def _as_files(run: Run, step: Step, backup: Backup, where: Path) -> Step:
    """Write each setting to a file of its own: complete under the directory's name, or not at all."""
    values, exceptions = _files_of(*_job(run.place, backup, where))
    note = "The files hold passwords: only you can read them."
    if step.attempts > 1:
        for rest in where.parent.glob(f".{where.name}.*.part"):  # of an attempt that was killed
            shutil.rmtree(rest, ignore_errors=True)
        if values and all((where / name).is_file() and (where / name).read_bytes() == values[name] for name in values):
            return _done(step, len(values), exceptions, note)
    refuse_used(where)
    try:
        where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with new_directory(where, may_exist=True) as root:
            for name, value in values.items():
                path = root / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with new_file(path) as file:
                    file.write(value)
    except (OSError, ExportError) as error:
        raise DestinationError(
            f"The settings could not be written to {where}.",
            code="DIRECTORY_NOT_WRITTEN",
            detail=error.detail if isinstance(error, ExportError) else error.strerror,
            hint="What was written was removed. Name another directory, or make room.",
        ) from error
    return _done(step, len(values), exceptions, note)


def _files_of(job: SettingsRestore, entries: tuple[Entry, ...]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return the values by the paths of their files, and what is not there, or under another name, in sentences."""
    names, values, exceptions = FileNames(), dict[str, bytes](), list[str]()
    for entry in entries:
        name = entry.name.replace("//", "/")  # parameters of SSM begin with a slash
        path = names.path_of(name)
        try:
            values[path] = read_setting(job.opener, entry).value
        except CoffreError as error:
            exceptions.append(f"{visible(entry.name)}: {error.message} [{error.code}]")
            continue
        if path != name:
            exceptions.append(f"{visible(entry.name)} is in the file {path}.")
    return values, tuple(exceptions)


def _compared(run: Run, step: Step, backup: Backup) -> Step:
    """Open every setting; with `--to TARGET=aws` compare it with what exists there. Nothing is written."""
    where = settings_place_of(step.target, step.reference) if step.reference else Path()
    planned = _planned(run.place, backup, where)
    _refuse_unreachable(planned)
    failed = tuple(described(one, is_dry=True) for one in planned if one.error is not None)
    opened = len(planned) - len(failed)
    compared = f" Compared with {account_of_settings(_OTHERWISE)}: {_counts(planned)}." if where is None else ""
    return _done(step, opened, failed, f"They were opened; nothing was written.{compared}")


def _done(step: Step, count: int, exceptions: tuple[str, ...], note: str) -> Step:
    done = {"state": StepState.DONE, "settings": count, "exceptions": exceptions, "notes": (note,)}
    return step.model_copy(update=done)


def _counts(planned: list[Planned]) -> str:
    """Return how many are created, changed, the same ... in words."""
    words = {Deed.CREATE: "new", Deed.CHANGE: "with another value", Deed.SAME: "as in the backup"}
    found = Counter(one.step for one in planned)
    return (
        ", ".join(f"{counted(found[step], 'setting')} {word}" for step, word in words.items() if found[step]) or "none"
    )
