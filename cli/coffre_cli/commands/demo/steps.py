"""What the chapters of the demo have in common: the stack, titles, commands as a user types them, alerts."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import typer

from coffre.model.errors import TransientError
from coffre.model.kinds import Status
from coffre.model.tier import Tier
from coffre_cli.deployed import DeployedStack
from coffre_cli.exit_status import Exit
from coffre_cli.screen import console, say, show_failure

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from coffre.model.backup import Backup
    from coffre_local.state import LocalState

_PATIENCE_SECONDS: Final = 300


@dataclass(frozen=True)
class Scene:
    """The local stack, as the chapters of the demo use it."""

    state: LocalState
    deployed: DeployedStack

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead to the local AWS."""
        from coffre_local import stack

        return stack.environment_of(self.state)

    @cached_property
    def s3(self) -> S3Client:
        """The local S3, as an administrator sees it."""
        from coffre_local.aws import session

        return session(self.environment).client("s3", endpoint_url=self.environment["AWS_ENDPOINT_URL"])

    def url(self, database: str) -> str:
        """Return the address of a database on the demo's server."""
        from coffre_local.errors import StackError

        if self.state.postgres is None:
            raise StackError("The demo's PostgreSQL server is not running.", code="LOCAL_STACK_DOWN")
        return self.state.postgres.server().dsn(database=database)

    def wait_for(self, target: str, tiers: set[Tier]) -> Backup:
        """Wait for the backup of a target that carries these tiers."""

        def look() -> Backup | None:
            for backup in self.deployed.catalog.backups(target=target):
                if backup.failure is not None:
                    show_failure(backup.failure)
                    raise typer.Exit(Exit.FAILED)
                if backup.status is Status.COMPLETED and tiers <= set(backup.tiers):
                    return backup
            return None

        return wait(look, "The scheduled backup did not end")

    def newest(self, target: str) -> Backup:
        """Return the newest completed backup of a target."""
        found = self.deployed.catalog.latest_completed(target)
        if found is None:
            raise typer.Exit(Exit.FAILED)
        return found


class Mailbox:
    """What the alert topic sends: a queue instead of the operator's mail."""

    def __init__(self, scene: Scene) -> None:
        from coffre_local.alert_queue import subscribe_queue
        from coffre_local.aws import session

        environment = scene.environment
        self._queue = subscribe_queue(environment, scene.state.outputs["AlertTopic"], "demo-mailbox")
        self._sqs = session(environment).client("sqs", endpoint_url=environment["AWS_ENDPOINT_URL"])

    def show(self, kind: str) -> None:
        """Wait for an alert of this kind, and print it as the mail that a person would get."""
        message = wait(lambda: self._take(kind), f"The alert {kind} did not come")
        say(f"  From: Coffre    Subject: {message['Subject']}", style="bold yellow")
        for line in message["Message"].splitlines():
            say(f"  | {line}")

    def _take(self, kind: str) -> dict[str, str] | None:
        answer = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
        for message in answer.get("Messages", []):
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
            body = json.loads(message["Body"])
            if body["MessageAttributes"]["kind"]["Value"] == kind:
                return dict(body)
        return None


def wait[T](look: Callable[[], T | None], what: str) -> T:
    """Look until there is something, for some minutes."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.3)
    raise TransientError(
        f"{what} within {_PATIENCE_SECONDS} seconds.",
        code="DEMO_TIMEOUT",
        hint="Run it again with --keep and look: coffre list",
    )


def title(text: str, explained: str) -> None:
    """Begin a chapter."""
    console.print()
    console.print(text, style="bold")
    say(explained)


def typed(command: str) -> None:
    """Show a command as a person would type it."""
    say(f"$ {command}", style="dim")


@contextlib.contextmanager
def ignoring_exit_status() -> Iterator[None]:
    """Ignore the exit status of a command: only its output matters."""
    with contextlib.suppress(typer.Exit):
        yield
