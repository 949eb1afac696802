"""`coffre demo`: the main job, end to end, on this machine, in plain words."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.tier import Tier
from coffre.model.words import duration, size
from coffre_cli.commands.backups.list_backups import list_backups
from coffre_cli.commands.demo.files import back_up_files, look_at_files, lose_files, restore_files
from coffre_cli.commands.demo.minute import restore_minute
from coffre_cli.commands.demo.region import lose_region, take_offsite
from coffre_cli.commands.demo.steps import Mailbox, Scene, title, typed
from coffre_cli.commands.demo.trust import drill, find_corruption, show_anomaly, show_rotation
from coffre_cli.commands.restore.tables import restore_rows, restore_tables
from coffre_cli.commands.stack.local import start
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import console, say, say_command, show_failure
from coffre_cli.stack_choice import find_stack

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Restore
    from coffre_local.sample import TableFingerprint
    from coffre_local.state import LocalState

    type Fingerprints = dict[str, TableFingerprint]

# A Sunday and the first of a month: all three rules fire.
_SLOT: Final = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
_RULES: Final = ("DailyBackupRule", "WeeklyBackupRule", "MonthlyBackupRule")
_RESTORED: Final = "casa_restored"
# What is restored into casa itself; the first review is younger.
_RESTORED_IN_PLACE: Final = ('"billing"."payments"', '"casa"."reviews"')
_FROM: Final = "2020-01-01"
_SHORT_SCALE: Final = 0.05

EXAMPLES = examples("coffre demo", "coffre demo --short", "coffre demo --keep && coffre list")


def demo(
    short: Annotated[
        bool, typer.Option("--short", help="A twentieth of the rows: for a quick look and for CI.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the local stack running afterwards.")] = False,
) -> None:
    """Back up, lose and restore a sample database and its files, on this machine, without an AWS account.

    In the end the region is lost, and everything is recovered from a copy on a disk.
    """
    from coffre_local.errors import StackError
    from coffre_local.state import read_state

    if read_state() is not None:
        raise StackError(
            "A local stack is up already, and the demo needs one of its own.",
            code="LOCAL_STACK_UP",
            hint="Stop it first (what it stored is lost): coffre local down",
        )
    with _local_stack(keep=keep, scale=_SHORT_SCALE if short else 1.0) as state:
        scene = Scene(state, find_stack(None))
        with tempfile.TemporaryDirectory(prefix="coffre-demo-") as folder:
            equal = _lose_and_restore(scene, Path(folder), keep=keep)
    if not equal:
        raise typer.Exit(Exit.FAILED)
    console.print()
    say("That is the whole point of Coffre: lose something, and restore it." + ("" if keep else " (All cleaned up.)"))
    say("The same in a browser, with test users of each role:")
    say_command("coffre console" if keep else "coffre local up && coffre console")


def _lose_and_restore(scene: Scene, folder: Path, *, keep: bool) -> bool:
    """Play all chapters; return whether everything was restored as it was."""
    from coffre_local import stack
    from coffre_local.sample import fingerprint

    mailbox = Mailbox(scene)
    source = scene.url(stack.SAMPLE)
    before, files = _look(source), look_at_files(scene)
    backup = _back_up(scene)
    backup_of_files = back_up_files(scene, _SLOT)
    offsite = take_offsite(folder)
    typed("coffre list")
    list_backups()
    _lose(source, before)
    lose_files(scene)
    _restore(scene, backup)
    equal = _compare(before, fingerprint(scene.url(_RESTORED)))
    equal = _restore_in_place(source, before, backup) and equal
    equal = restore_files(scene, files, backup_of_files) and equal
    equal = restore_minute(scene, folder) and equal
    drill(backup)
    find_corruption(scene, backup)
    show_anomaly(scene, mailbox)
    show_rotation()
    return lose_region(scene, offsite, before, files, keep=keep) and equal


@contextlib.contextmanager
def _local_stack(*, keep: bool, scale: float) -> Iterator[LocalState]:
    from coffre_local import stack

    title(
        "1. Deploy",
        "The real template.yaml, built by SAM, on a local AWS; a PostgreSQL 18 with a rental company's data.",
    )
    try:
        yield start({}, sample=True, sample_scale=scale)
    finally:
        if not keep:
            stack.down()


def _look(url: str) -> Fingerprints:
    from coffre_local.sample import fingerprint

    found = fingerprint(url)
    rows = sum(table.rows for table in found.values())
    say(f"The sample database casa has {len(found)} tables and materialized views with {rows:,} rows.")
    return found


def _back_up(scene: Scene) -> Backup:
    from coffre_local import stack
    from coffre_local.schedule_rules import fire_rule, rules_of

    title(
        "2. Back up",
        f"It is {_SLOT:%A, %d %B %Y, %H:%M} UTC: the daily, the weekly and the monthly rule fire at the same time.",
    )
    names = rules_of(scene.environment, scene.state.stack)
    for rule in _RULES:
        fire_rule(scene.environment, names[rule], _SLOT)
    backup = scene.wait_for(stack.SAMPLE, {Tier.DAILY, Tier.WEEKLY, Tier.MONTHLY})
    say(
        f"One backup answers all three: {backup.tables} tables, {backup.rows:,} rows, {size(backup.plaintext_bytes)} "
        f"in {duration(backup.duration_ms)}; {size(backup.stored_bytes)} stored, compressed and encrypted."
    )
    return backup


def _lose(source: str, before: Fingerprints) -> None:
    from coffre_local.sample import damage, fingerprint

    title("3. Lose data", "3 a.m., the wrong window, a migration gone wrong:")
    for sentence in damage(source):
        say(f"  - {sentence}", style="red")
    after = fingerprint(source)
    hurt = [name for name, table in before.items() if after.get(name) != table]
    say(f"Compared row by row, {len(hurt)} tables and views are gone or wrong: {', '.join(hurt[:8])}.")


def _restore(scene: Scene, backup: Backup) -> None:
    from ulid import ULID

    from coffre_cli.follow import follow

    title(
        "4. Restore",
        f"The function restore loads it into a new database, {_RESTORED}; the source stays as it is.",
    )
    deployed = scene.deployed
    restore_id = str(ULID())
    secret = f"coffre/destination/{restore_id}"
    deployed.secrets.create_secret(Name=secret, SecretString=scene.url(_RESTORED))
    typed(f"coffre restore database {backup.id} --to postgresql://.../{_RESTORED}")
    deployed.start("restore", {"backup_id": backup.id, "destination": secret, "restore_id": restore_id})
    record = follow(
        lambda: deployed.catalog.get_restore(restore_id), title="Restoring", quiet=False, has_ended=lambda: False
    )
    deployed.secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    _check(record)


def _check(record: Restore) -> None:
    if record.failure is not None:
        show_failure(record.failure)
        raise typer.Exit(Exit.FAILED)
    say(f"Restored {record.tables} tables with {record.rows:,} rows in {duration(record.duration_ms)}.")


def _compare(before: Fingerprints, restored: Fingerprints) -> bool:
    title("5. Compare", "Every row of every table, before the accident and in the restored database:")
    rows = sum(table.rows for table in before.values())
    if before == restored:
        say(
            f"  Equal: {len(before)} tables and materialized views, {rows:,} rows, not one differs.", style="bold green"
        )
        return True
    for name in sorted(set(before) | set(restored)):
        if before.get(name) != restored.get(name):
            say(f"  DIFFERENT: {name}: {before.get(name)} is now {restored.get(name)}", style="bold red")
    return False


def _restore_in_place(source: str, before: Fingerprints, backup: Backup) -> bool:
    from coffre_local.sample import fingerprint

    title(
        "6. Restore no more than was lost",
        "In casa itself: the dropped table with its views, and the deleted rows; then the files.",
    )
    typed(f"coffre restore tables {backup.id} billing.payments --with-dependencies")
    restore_tables(backup.id, table=["billing.payments"], with_dependencies=True)
    console.print()
    typed(f"coffre restore rows {backup.id} reviews --where-column written_at --from {_FROM} --apply")
    restore_rows(backup.id, table=["reviews"], where_column="written_at", since=_FROM, apply=True, yes=True)
    after = fingerprint(source)
    wrong = [name for name in _RESTORED_IN_PLACE if after.get(name) != before[name]]
    for name in wrong:
        say(f"  DIFFERENT: {name}: {before[name]} is now {after.get(name)}", style="bold red")
    if not wrong:
        say("  Equal again in casa: billing.payments and casa.reviews, every row.", style="bold green")
    return not wrong
