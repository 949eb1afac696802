"""A deployment through CloudFormation: a change set that is looked at, and then carried out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from coffre_cli.deploying.errors import DeployError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

# Small changes take less than a second, a whole stack minutes.
_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.2, 2.0
# The template's roles, and its transform (AWS::Serverless). A change set could do without the second.
_CAPABILITIES: Final = ("CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
# A stack that exists only because a change set was made for it.
_EMPTY: Final = "REVIEW_IN_PROGRESS"
# What CloudFormation says of a resource that was only stopped because another one failed.
_FOLLOWS: Final = ("cancelled", "canceled")
_UNCHANGED: Final = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True)
class Change:
    """What happens to one resource: `Add`, `Modify` or `Remove`; whether it is replaced (`True`, `Conditional`)."""

    action: str
    resource: str
    kind: str
    replacement: str | None


@dataclass(frozen=True)
class ChangeSet:
    """A change set that waits to be carried out. Without changes there is nothing to do, and none exists any more."""

    arn: str
    stack_id: str
    is_new: bool
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Stack:
    """A stack by its name, whether it exists or not."""

    name: str
    client: CloudFormationClient

    def described(self) -> Mapping[str, Any] | None:
        """Return what CloudFormation says of it; None when it does not exist, or exists as an empty name only.

        Raises
        ------
        DeployError
            It cannot be asked.
        """
        with explained(self.name, "looked up"):
            try:
                [found] = self.client.describe_stacks(StackName=self.name)["Stacks"]
            except self.client.exceptions.ClientError as error:
                if "does not exist" in str(error):
                    return None
                raise
        return None if found["StackStatus"] == _EMPTY else found

    def outputs(self) -> dict[str, str]:
        """Return the outputs of a stack that exists."""
        found = self.described() or {}
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}

    def parameters(self) -> dict[str, str]:
        """Return the parameters that it was deployed with; none when it does not exist."""
        found = self.described() or {}
        return {one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", [])}

    def settled(self, on_event: Callable[[str], None]) -> Mapping[str, Any] | None:
        """Wait while another deployment of it runs, such as one whose command was interrupted; then as `described`.

        Raises
        ------
        DeployError
            `STACK_BROKEN`: its creation, or the undoing of a change, failed; CloudFormation takes no change then.
        """
        found, pause = self.described(), Pause()
        while found is not None and found["StackStatus"].endswith("_IN_PROGRESS"):
            on_event(f"Waiting for another deployment of {self.name}: {found['StackStatus']}")
            pause()
            found = self.described()
        if found is None:
            return None
        status = found["StackStatus"]
        if status in ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED"):
            raise DeployError(
                f"The stack {self.name} was never completely created ({status}).",
                code="STACK_BROKEN",
                hint="It holds no backups. Delete it, then run this again: "
                f"aws cloudformation delete-stack --stack-name {self.name}",
            )
        if status == "UPDATE_ROLLBACK_FAILED":
            raise DeployError(
                f"The stack {self.name} is between two versions ({status}).",
                code="STACK_BROKEN",
                hint="Backups are kept. Let CloudFormation finish, then run this again: "
                f"aws cloudformation continue-update-rollback --stack-name {self.name}",
            )
        return found

    def propose(self, template_url: str, parameters: Mapping[str, str], known: Mapping[str, Any]) -> ChangeSet:
        """Make a change set for a template in a bucket, and wait until it can be looked at.

        Parameters
        ----------
        parameters
            Those to set. Others keep the value that the stack has, else the template's default.
        known
            The template's own `Parameters`.

        Raises
        ------
        DeployError
            CloudFormation refused, with its words.
        """
        before = self.described()
        deployed = {one["ParameterKey"] for one in (before or {}).get("Parameters", [])}
        values: list[Any] = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        kept = sorted((deployed & set(known)) - set(parameters))
        values += [{"ParameterKey": key, "UsePreviousValue": True} for key in kept]
        with explained(self.name, "planned"):
            made = self.client.create_change_set(
                StackName=self.name,
                ChangeSetName=f"coffre-{datetime.now(UTC):%Y%m%dT%H%M%S%f}",
                ChangeSetType="UPDATE" if before else "CREATE",
                TemplateURL=template_url,
                Parameters=values,
                Capabilities=_CAPABILITIES,
                # A creation that fails leaves nothing that the next attempt would stumble over.
                **({} if before else {"OnStackFailure": "DELETE"}),  # type: ignore[arg-type]
            )
            arn, stack_id = made["Id"], made["StackId"]
            found = self._awaited(arn)
        words = found.get("StatusReason", "")
        if found["Status"] == "FAILED" and not any(known in words for known in _UNCHANGED):
            self.discard(ChangeSet(arn, stack_id, before is None, ()))
            raise DeployError(
                "CloudFormation refused the deployment; nothing was changed.",
                detail=words[:1000],
                hint="Correct what the detail names, mostly a parameter, and run this again.",
            )
        changes = () if found["Status"] == "FAILED" else tuple(self._changes(arn))
        ready = ChangeSet(arn, stack_id, before is None, changes)
        if not changes:
            self.discard(ready)
        return ready

    def carry_out(self, change_set: ChangeSet, on_event: Callable[[str], None]) -> dict[str, str]:
        """Carry out a change set, wait for its end, and return the stack's outputs.

        Parameters
        ----------
        on_event
            Called with each resource that is done, in words.

        Raises
        ------
        DeployError
            It failed, and CloudFormation restored what was before; the detail names the first causes.
        """
        with explained(self.name, "deployed"):
            events = Events(self.client, change_set.stack_id, len(change_set.changes))
            self.client.execute_change_set(ChangeSetName=change_set.arn)
            status, pause = _EMPTY, Pause()
            while status == _EMPTY or status.endswith("_IN_PROGRESS"):
                pause()
                events.show_new(on_event)
                [found] = self.client.describe_stacks(StackName=change_set.stack_id)["Stacks"]
                status = found["StackStatus"]
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            events.show_new(on_event)
            raise DeployError(
                f"The deployment failed ({status}). CloudFormation "
                + (
                    "removed what it had made; an empty bucket and table may be left."
                    if change_set.is_new
                    else "restored what was deployed before."
                ),
                detail="\n  ".join(events.causes[:5]) or None,
                hint="Correct what the detail names, and run this again. Everything that happened: "
                f"aws cloudformation describe-stack-events --stack-name {change_set.stack_id}",
            )
        return self.outputs()

    def discard(self, change_set: ChangeSet) -> None:
        """Remove a change set that is not carried out, and the empty stack that was made for it."""
        with explained(self.name, "left as it is"):
            self.client.delete_change_set(ChangeSetName=change_set.arn)
            if change_set.is_new:
                self.client.delete_stack(StackName=change_set.stack_id)

    def _awaited(self, arn: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.client.describe_change_set(ChangeSetName=arn)
        pause = Pause()
        while found["Status"] in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            pause()
            found = self.client.describe_change_set(ChangeSetName=arn)
        return found

    def _changes(self, arn: str) -> Iterator[Change]:
        for page in self.client.get_paginator("describe_change_set").paginate(ChangeSetName=arn):
            for one in page["Changes"]:
                about = one.get("ResourceChange")
                if about is not None:
                    yield Change(
                        about["Action"], about["LogicalResourceId"], about["ResourceType"], about.get("Replacement")
                    )


class Pause:
    """Wait between two looks, each time a little longer."""

    def __init__(self) -> None:
        self._seconds = _FIRST_POLL_SECONDS

    def __call__(self) -> None:
        time.sleep(self._seconds)
        self._seconds = min(self._seconds * 1.5, _LONGEST_POLL_SECONDS)


class Events:
    """The events of one deployment: each is shown once, and failures are remembered."""

    def __init__(self, client: CloudFormationClient, stack_id: str, expected: int) -> None:
        self._client = client
        self._stack_id = stack_id
        self._expected = expected
        self._done: set[str] = set()
        self.causes: list[str] = []
        self._newest: str | None = None
        # Those of earlier deployments, by what exists now: this machine's clock may differ from AWS's.
        self._newest = next((event["EventId"] for event in self._new()), None)

    def show_new(self, on_event: Callable[[str], None]) -> None:
        found = list(self._new())
        self._newest = found[0]["EventId"] if found else self._newest
        for event in reversed(found):
            name, status = event["LogicalResourceId"], event.get("ResourceStatus", "")
            words = event.get("ResourceStatusReason", "")
            if status.endswith("_FAILED") and not any(one in words for one in _FOLLOWS):
                self.causes.append(f"{name}: {words}"[:500])
                on_event(f"{name} failed")
            elif status.endswith("_COMPLETE") and event.get("PhysicalResourceId") != self._stack_id:
                self._done.add(name)
                on_event(f"{min(len(self._done), self._expected)} of {self._expected}: {name}")

    def _new(self) -> Iterator[Mapping[str, Any]]:
        """Yield events that were not seen yet, newest first."""
        for page in self._client.get_paginator("describe_stack_events").paginate(StackName=self._stack_id):
            for event in page["StackEvents"]:
                if event["EventId"] == self._newest:
                    return
                yield event


@contextmanager
def explained(stack: str, done: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise DeployError(
            f"The stack {stack} could not be {done}.",
            detail=str(error)[:1000],
            hint="Check the region and your AWS credentials: they need to make the stack's resources, roles included "
            "(docs/install.md).",
        ) from error
