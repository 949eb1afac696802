"""Events that Coffre puts on the account's event bus: a rule for them can start work after each backup."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from coffre.model.backup import Backup
from coffre.model.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE: Final = "coffre"
BACKUP_COMPLETED: Final = "Coffre Backup Completed"


class AnnouncementError(TransientError):
    """The event bus did not take an event."""

    default_code = "EVENT_NOT_SENT"


class Announcer:
    """Publishes to the default bus. `catalog_table` identifies the deployment, among several in the account."""

    def __init__(self, client: EventBridgeClient, catalog_table: str) -> None:
        self._client = client
        self._catalog_table = catalog_table

    def backup_completed(self, backup: Backup) -> None:
        """Publish that a backup is complete.

        Raises
        ------
        AnnouncementError
            The bus did not take it.
        """
        detail = {"catalog": self._catalog_table, "target": backup.target, "backup_id": backup.id}
        entry = {"Source": SOURCE, "DetailType": BACKUP_COMPLETED, "Detail": json.dumps(detail)}
        try:
            answer = self._client.put_events(Entries=[entry])  # type: ignore[list-item]
        except (ClientError, BotoCoreError) as error:
            raise self._not_sent(backup, str(error)) from error
        if answer["FailedEntryCount"]:
            raise self._not_sent(backup, answer["Entries"][0].get("ErrorMessage", ""))

    def _not_sent(self, backup: Backup, detail: str) -> AnnouncementError:
        return AnnouncementError(
            f"The event that backup {backup.id} is complete could not be published.",
            detail=detail[:500],
            hint="Rotation then waits for its daily run. The role needs events:PutEvents on the default bus.",
        )
