"""A list of 60 pages is walked by its own links, while records come and go: each is seen once."""

from datetime import timedelta
from typing import Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from tests.console_client import Client
from tests.console_scene import ConsoleScene
from tests.unit.console.pages.markup import Markup
from ulid import ULID

from coffre.catalog.run_items import BackupItem
from coffre_console.pages import backups

PAGES, SIZE = 60, 1


def test_a_long_list_is_walked_to_its_end_while_records_come_and_go(
    scene: ConsoleScene, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "PAGE_SIZE", SIZE)
    made = _many(scene, PAGES * SIZE)
    seen: list[str] = []
    gone: set[str] = set()
    url, pages = "/backups?target=shop", 0
    while url:
        page = Markup(client.get(url).body)
        seen += [link.rsplit("/", 1)[1] for link in page.links if link.startswith("/backups/0")]
        url = next((link for link in page.links if "cursor=" in link), "")
        pages += 1
        if pages % 6 == 0 and url:
            scene.begin(0)
            ahead = made[made.index(seen[-1]) - SIZE - 1]
            gone.add(ahead)
            # No function removes a record. Even that moves no other one, be it the one that the address names.
            for one in (seen[-1], ahead):
                scene.catalog._table.delete("BACKUP", one, BackupItem.pk.exists())
    assert seen == [one for one in reversed(made) if one not in gone]
    assert (len(gone), pages >= PAGES - len(gone)) == (8, True)


def _many(scene: ConsoleScene, count: int) -> list[str]:
    """Leave this number of backups, the oldest first; all but one are copies, as each costs the table a while."""
    made = [scene.begin(count / 10).id]
    backends: Any = dynamodb_backends
    table = backends[DEFAULT_ACCOUNT_ID]["eu-west-3"].tables["catalog"]
    [first] = next(iter(table.items.values())).values()
    for number in range(count - 1, 0, -1):
        at = scene.now - timedelta(hours=number / 10)
        made.append(str(ULID.from_datetime(at)))
        copied = {**first.to_json()["Attributes"], "sk": {"S": made[-1]}}
        table.put_item({**copied, "created_at": {"S": at.isoformat(timespec="microseconds")}})
    return made
