"""What has happened before a sample of the documentation was made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from tests.unit.cli.conftest import Account

from coffre.model.usage import Job, Usage
from coffre_cli.commands.backups import cost

NOW: Final = datetime(2026, 10, 16, 12, tzinfo=UTC)


def cost_of_a_month(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let half a month have passed with two backups, of one of which it is recorded what it used."""
    monkeypatch.setattr(cost, "_now", lambda: NOW)
    account.backup(created_at=NOW - timedelta(days=2))
    counted = account.backup(created_at=NOW - timedelta(days=1))
    account.catalog.usages.add(
        Usage(
            id=counted.id,
            job=Job.BACKUP,
            target="shop",
            at=counted.created_at,
            invocations=1,
            function_mb_ms=3_008 * 60_000,
            vault_writes=1_000,
        )
    )
