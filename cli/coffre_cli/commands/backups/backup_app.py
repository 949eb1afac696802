"""`coffre backup database|buckets|settings`."""

from __future__ import annotations

from coffre_cli.commands.backups.backup import app
from coffre_cli.commands.backups.backup_settings import EXAMPLES, backup_settings

app.command("settings", short_help="Back up secrets, parameters, and files that are handed in.", epilog=EXAMPLES)(
    backup_settings
)
