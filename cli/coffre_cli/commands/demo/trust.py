"""The demo's chapters about trust: a drill, a corruption that is found, an anomaly, and what rotation would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coffre.model.kinds import Level
from coffre.model.words import size
from coffre_cli.commands.backups.backup import backup_buckets
from coffre_cli.commands.backups.rotate import rotate
from coffre_cli.commands.demo.files import empty_photos
from coffre_cli.commands.demo.steps import Mailbox, Scene, ignoring_exit_status, title, typed
from coffre_cli.commands.verify.verify import verify
from coffre_cli.screen import console, say

if TYPE_CHECKING:
    from coffre.model.backup import Backup


def drill(backup: Backup) -> None:
    """Restore the backup into a server inside the function, and prove it."""
    title(
        "8. Prove it",
        "A backup that was never restored is only a hope. The function drill has a PostgreSQL 18 of its own inside: it "
        "restores the backup, dumps every table again, and compares.",
    )
    typed(f"coffre verify --level drill {backup.id}")
    verify(backup.id, level=Level.DRILL)


def find_corruption(scene: Scene, backup: Backup) -> None:
    """Flip one byte of a pack, and let the verification find it."""
    title("9. Find damage", "One stored byte is flipped:")
    from coffre.operations.stored_backup.open_backup import manifest_of

    manifest = manifest_of(scene.deployed.vault, backup)
    pack = max(manifest.packs, key=lambda pack: pack.length)
    bucket = scene.state.outputs["VaultBucket"]
    body = bytearray(scene.s3.get_object(Bucket=bucket, Key=pack.key)["Body"].read())
    body[len(body) // 2] ^= 1
    scene.s3.put_object(Bucket=bucket, Key=pack.key, Body=bytes(body))
    say(f"  - byte {len(body) // 2:,} of {pack.key} ({size(pack.length)})", style="red")
    typed(f"coffre verify {backup.id}")
    with ignoring_exit_status():
        verify(backup.id)


def show_anomaly(scene: Scene, mailbox: Mailbox) -> None:
    """Make a backup that is much smaller than those before it: an alert is sent."""
    from coffre_local import stack

    title("10. Notice what is unusual", "Some ordinary backups make known what is usual.")
    for _ in range(2):
        backup_buckets(stack.SAMPLE_FILES)
    console.print()
    empty_photos(scene)
    say("The backup is good: it has what existed. But the operator should look, and gets a mail:")
    mailbox.show("SIZE_ANOMALY")


def show_rotation() -> None:
    """Show what a rotation would do, and why."""
    title(
        "11. Keep what is needed",
        "Old backups are deleted when they have outlived their tiers. What a rotation would do now:",
    )
    typed("coffre rotate --dry-run")
    rotate(dry_run=True)
