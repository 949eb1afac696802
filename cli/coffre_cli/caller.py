"""Who runs the command: the name in audit events, and the proof of it in events for functions (docs/identity.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from coffre.runtime.caller_proof import Audience, sign
from coffre.runtime.events.event import LONGEST_ACTOR
from coffre_cli import aws

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

# Functions whose events name their sender. The others are for the stack itself.
_FUNCTIONS: Final = ("backup_database", "backup_storage", "restore", "rotate", "copy", "verify", "drill", "journal")


@dataclass(frozen=True)
class Caller:
    """Whose AWS credentials the command uses; without an answer of STS, `arn` is None."""

    arn: str | None
    credentials: ReadOnlyCredentials | None
    region: str

    @classmethod
    def of_this_process(cls) -> Caller:
        """Ask STS whose credentials this process has; a network without STS costs seconds, not minutes."""
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        patience = Config(connect_timeout=3, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
        try:
            arn: str | None = aws.client("sts", patience).get_caller_identity()["Arn"]
            credentials = aws.session().get_credentials()
        except (ClientError, BotoCoreError, ResponseParserError):
            arn = credentials = None
        frozen = credentials.get_frozen_credentials() if credentials else None
        return cls(arn, frozen, aws.region() or "")

    def sign(self, function: str, name: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an event with the name of the caller and the proof of it, for functions that take them.

        Parameters
        ----------
        function, name
            The function's name in Coffre (`backup_database`), and as it is deployed.
        """
        if function not in _FUNCTIONS or self.arn is None or self.credentials is None:
            return event
        named = {**event, "actor": self.arn[:LONGEST_ACTOR]}
        audience = Audience.near(self.arn, self.region, name)
        return {**named, "proof": sign(named, audience, audience.sts_url(os.environ), self.credentials)}
