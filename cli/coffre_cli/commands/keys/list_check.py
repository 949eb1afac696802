"""`coffre keys list` and `coffre keys check`: which backups need which key, and whether the keys open them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from coffre.model.errors import CatalogError, CoffreError
from coffre.model.words import counted
from coffre_cli.commands.keys.key_inventory import (
    EncryptedBackup,
    IdentitiesOption,
    KnownKey,
    encrypted_backups,
    known_keys,
    manifest_of,
    new_recipients,
    short,
    targets_of,
)
from coffre_cli.commands.keys.retired_keys import notes_on_retired
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.place import Place, find_place
from coffre_cli.screen import print_json, print_table, remark, say
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.manifest import Frame, Manifest

LIST_EXAMPLES = examples("coffre keys list", "coffre keys list --json | jq -r '.keys[].recipient'")
CHECK_EXAMPLES = examples(
    "coffre keys check",
    "coffre keys check --identity ./offline.txt",
    "coffre --vault ./copy keys check --identity ./kit/identity.age",
)
TargetsOption = Annotated[
    list[str] | None, typer.Option("--target", help="Only this target; repeatable. Default: all targets.")
]

# --- list ---


def list_keys(
    identity: IdentitiesOption = None,
    targets: TargetsOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every public key that new or existing backups are encrypted to, and where its private key is known to be."""
    place = find_place(stack)
    names = targets_of(place, targets or ())
    # Of all targets: a key that none of the named ones needs may be that of others.
    everyone = targets_of(place)
    backups = encrypted_backups(place, everyone)
    known = known_keys(place, names, identity or ())
    new = {name: new_recipients(place, name) for name in everyone}
    everything = [_described(place, key, backups, new, known) for key in _all_keys(backups, new, known)]
    rows = [row for one in everything if (row := _of_targets(one, names)) is not None]
    shown = {row["recipient"] for row in rows}
    retired = notes_on_retired(place, [row for row in everything if row["recipient"] in shown], backups)
    notes = [*_single({name: new[name] for name in names}), *retired]
    if as_json:
        print_json({"keys": rows, "notes": notes})
        return
    for row in rows:
        _say_key(row)
    if not rows:
        say("No backup is encrypted, and no key is configured.")
    for note in notes:
        say(f"Note: {note}", style="yellow")


def _all_keys(
    backups: Sequence[EncryptedBackup], new: dict[str, tuple[str, ...]], known: Sequence[KnownKey]
) -> list[str]:
    """Return all public keys: those of new backups first, then those of the newest backups, then the others."""
    ordered = [key for keys in new.values() for key in keys]
    ordered += [key for backup in backups for key in backup.recipients or ()]
    return list(dict.fromkeys([*ordered, *(one.recipient for one in known)]))


def _described(
    place: Place,
    key: str,
    backups: Sequence[EncryptedBackup],
    new: dict[str, tuple[str, ...]],
    known: Sequence[KnownKey],
) -> dict[str, Any]:
    since = place.catalog.recipients.first_used(key) if isinstance(place, DeployedStack) else None
    per_target: dict[str, dict[str, Any]] = {}
    for backup in backups:  # the newest first
        if key in (backup.recipients or ()):
            one = per_target.setdefault(
                backup.target, {"backups": 0, "alone": 0, "oldest": None, "newest": backup.created_at}
            )
            one["backups"] += 1
            one["alone"] += backup.recipients == (key,)
            one["oldest"] = backup.created_at
            since = min(since or backup.created_at, backup.created_at)
    return {
        "recipient": key,
        "since": since,
        "new_backups_of": [name for name, keys in new.items() if key in keys],
        "backups": per_target,
        "private_key": [one.place for one in known if one.recipient == key],
    }


def _of_targets(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any] | None:
    """Return what these targets have of a key; None: others alone use it."""
    new = [name for name in row["new_backups_of"] if name in names]
    backups = {name: one for name, one in row["backups"].items() if name in names}
    is_of_others = not (new or backups) and bool(row["new_backups_of"] or row["backups"])
    return None if is_of_others else {**row, "new_backups_of": new, "backups": backups}


def _say_key(row: dict[str, Any]) -> None:
    say(row["recipient"], style="bold")
    uses = f"new backups of {', '.join(row['new_backups_of'])}" if row["new_backups_of"] else "no new backups"
    say(f"  encrypts {uses}; in use since {_day(row['since'])}")
    say(f"  private key: {', '.join(row['private_key']) or 'not known here (offline?)'}")
    for target, one in row["backups"].items():
        alone = f"; {one['alone']:,} of them have no other key" if one["alone"] else ""
        period = f"{_day(one['oldest'])} to {_day(one['newest'])}"
        say(f"  {target}: {counted(one['backups'], 'backup')}, {period}{alone}")


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "never"


def _single(new: dict[str, tuple[str, ...]]) -> list[str]:
    single = [name for name, keys in new.items() if len(keys) == 1]
    if not single:
        return []
    note = (
        f"New backups of {', '.join(single)} have one key alone. A second one that is kept offline is advised: "
        "coffre keys new --file ./offline.txt (docs/keys.md)."
    )
    return [note]


# --- check ---

OPENS: Final = "opens it"


@dataclass(frozen=True)
class Tried:
    """What one key did to the newest backup of a target."""

    target: str
    backup_id: str | None
    recipient: str | None
    place: str | None
    result: str
    is_good: bool | None

    def to_json(self) -> dict[str, Any]:
        """Return the record for scripts; `opens` is null where nothing was tried."""
        return {
            "target": self.target,
            "backup_id": self.backup_id,
            "recipient": self.recipient,
            "private_key": self.place,
            "opens": self.is_good,
            "result": self.result,
        }


def check(
    identity: IdentitiesOption = None,
    targets: TargetsOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decrypt a part of the newest backup of every target with each private key that should open it.

    The exit status is 1 when a key does not open what it should, or when no key that is known here opens the newest
    backup of a target.
    """
    place = find_place(stack)
    names = targets_of(place, targets or ())
    known = known_keys(place, names, identity or ())
    tried = [one for name in names for one in _try_target(place, name, known)]
    unopened = [name for name in names if _is_unopened(name, tried)]
    idle = [one for one in known if one.recipient not in {each.recipient for each in tried}]
    if isinstance(place, DeployedStack):
        _record(place, tried)
    new = {name: new_recipients(place, name) for name in names}
    if as_json:
        print_json(
            {
                "checks": [one.to_json() for one in tried],
                "unopened": unopened,
                "idle": [{"recipient": one.recipient, "private_key": one.place} for one in idle],
                "notes": _single(new),
            }
        )
    else:
        print_table(["TARGET", "BACKUP", "KEY", "PRIVATE KEY", "RESULT"], map(_row, tried))
        for one in idle:
            say(f"Note: {short(one.recipient)} ({one.place}) opens none of the newest backups.", style="yellow")
        for note in _single(new):
            say(f"Note: {note}", style="yellow")
        for name in unopened:
            say(f"No private key that is known here opens the newest backup of {name}.", style="bold red")
    if unopened or any(one.is_good is False for one in tried):
        raise typer.Exit(Exit.FAILED)


def _record(place: DeployedStack, tried: Sequence[Tried]) -> None:
    """Record which private keys opened a backup: `coffre doctor` asks when each last did."""
    from coffre.model.audit import KEY_OPENED

    opened = {one.recipient: one for one in tried if one.is_good and one.recipient}
    for recipient, one in opened.items():
        try:
            # A key belongs to no single target: all of these events are in one chain.
            detail = f"backup {one.backup_id} of {one.target}"
            place.catalog.audit.record(datetime.now(UTC), place.caller, KEY_OPENED, None, recipient, detail)
        except CatalogError as error:
            remark(f"That the keys were tried could not be recorded ({error.code}): coffre doctor will not know of it.")
            return


def _is_unopened(target: str, tried: Sequence[Tried]) -> bool:
    of_target = [one for one in tried if one.target == target and one.backup_id is not None]
    return bool(of_target) and not any(one.is_good for one in of_target)


def _try_target(place: Place, target: str, known: Sequence[KnownKey]) -> list[Tried]:
    backup = place.catalog.latest_completed(target, damaged_too=True)
    if backup is None:
        return [Tried(target, None, None, None, "it has no backup yet", None)]
    try:
        manifest = manifest_of(place, backup)
        if manifest.encryption == "none":
            return [Tried(target, backup.id, None, None, "it is not encrypted", True)]
        frame = _smallest_frame(place, manifest)
    except CoffreError as error:
        return [Tried(target, backup.id, None, None, f"{error.message} [{error.code}]", False)]
    return [one for key in manifest.recipients for one in _try_key(place, backup, frame, key, known)]


def _try_key(
    place: Place, backup: Backup, frame: Frame | None, recipient: str, known: Sequence[KnownKey]
) -> list[Tried]:
    from coffre.vault.codec import FrameDecoder

    keys = [one for one in known if one.recipient == recipient]
    tried = [
        Tried(backup.target, backup.id, recipient, one.place, *_opened(place, frame, FrameDecoder([one.identity])))
        for one in keys
    ]
    return tried or [Tried(backup.target, backup.id, recipient, None, "not tried: not known here (--identity)", None)]


def _opened(place: Place, frame: Frame | None, decoder: Any) -> tuple[str, bool]:
    if frame is None:
        return "the backup is empty", True
    try:
        place.vault.read_frame(frame, decoder)
    except CoffreError as error:
        return f"{error.message} [{error.code}] {error.detail or ''}".rstrip(), False
    return OPENS, True


def _smallest_frame(place: Place, manifest: Manifest) -> Frame | None:
    """Return the smallest frame of the first entries that have any: every frame has the same recipients."""
    for entry in place.vault.entries(manifest):
        if entry.frames:
            return min(entry.frames, key=lambda frame: frame.length)
    return None


def _row(one: Tried) -> list[str | Text]:
    style = {True: "green", False: "bold red", None: ""}[one.is_good]
    key = short(one.recipient) if one.recipient else "-"
    return [one.target, one.backup_id or "-", key, one.place or "-", Text(one.result, style=style)]
