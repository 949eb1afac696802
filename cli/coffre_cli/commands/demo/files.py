"""The demo's chapters about files: back up a bucket, lose a folder, restore it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from coffre.model.kinds import Mode
from coffre.model.tier import Tier
from coffre.model.words import duration, size
from coffre_cli.commands.backups.backup import backup_buckets
from coffre_cli.commands.demo.steps import Scene, typed
from coffre_cli.commands.restore.objects import restore_objects
from coffre_cli.screen import console, say

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre_local.sample.files import FileFingerprint

    type FileFingerprints = dict[str, FileFingerprint]

_RULES: Final = ("WeeklyStorageBackupRule", "MonthlyStorageBackupRule")


def look_at_files(scene: Scene) -> FileFingerprints:
    """Hash the sample's files."""
    from coffre_local import stack
    from coffre_local.sample.files import fingerprint_files

    found = fingerprint_files(scene.s3, stack.SAMPLE_FILES)
    say(f"The bucket {stack.SAMPLE_FILES} has {len(found)} files: photos, leases, plans.")
    return found


def back_up_files(scene: Scene, slot: datetime) -> Backup:
    """Let the rules fire that come an hour after the databases', and back up once more."""
    from coffre_local import stack
    from coffre_local.schedule_rules import fire_rule, rules_of

    console.print()
    say(f"An hour later, at {slot + timedelta(hours=1):%H:%M}, the weekly and the monthly rule for buckets fire.")
    names = rules_of(scene.environment, scene.state.stack)
    for rule in _RULES:
        fire_rule(scene.environment, names[rule], slot + timedelta(hours=1))
    backup = scene.wait_for(stack.SAMPLE_FILES, {Tier.WEEKLY, Tier.MONTHLY})
    say(
        f"One backup answers both: {backup.objects} objects, {size(backup.plaintext_bytes)} in "
        f"{duration(backup.duration_ms)}; {size(backup.stored_bytes)} stored. Once more: nothing is stored twice."
    )
    typed(f"coffre backup buckets {stack.SAMPLE_FILES}")
    backup_buckets(stack.SAMPLE_FILES)
    return backup


def lose_files(scene: Scene) -> None:
    """Delete a folder, and overwrite another."""
    from coffre_local import stack
    from coffre_local.sample.files import damage_files

    for sentence in damage_files(scene.s3, stack.SAMPLE_FILES):
        say(f"  - {sentence}", style="red")


def restore_files(scene: Scene, before: FileFingerprints, backup: Backup) -> bool:
    """Restore what is missing, then what differs, and compare every file."""
    from coffre_local import stack
    from coffre_local.sample.files import fingerprint_files

    console.print()
    typed(f"coffre restore objects {backup.id} --mode overwrite")
    restore_objects(backup.id, mode=Mode.OVERWRITE, yes=True)
    after = fingerprint_files(scene.s3, stack.SAMPLE_FILES)
    wrong = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    for key in wrong[:10]:
        say(f"  DIFFERENT: {key}", style="bold red")
    if not wrong:
        say(f"  Equal again: all {len(before)} files, with their types and metadata.", style="bold green")
    return not wrong


def empty_photos(scene: Scene) -> None:
    """Delete most of what the bucket has, as an unnoticed accident would."""
    from coffre_local import stack
    from coffre_local.sample.files import fingerprint_files

    say("A week later a job deletes photos/ and plans/, unnoticed. The next backup notices:")
    for key in fingerprint_files(scene.s3, stack.SAMPLE_FILES):
        if key.startswith(("photos/", "plans/")):
            scene.s3.delete_object(Bucket=stack.SAMPLE_FILES, Key=key)
    typed(f"coffre backup buckets {stack.SAMPLE_FILES}")
    backup_buckets(stack.SAMPLE_FILES)
