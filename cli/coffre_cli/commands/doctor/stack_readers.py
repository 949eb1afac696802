"""What `coffre doctor` reads with the operator's own credentials: the stack, its network, the vault's settings, keys.

No function may see these; the stack's OperatorsPolicy allows each call to people.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from ulid import ULID

from coffre import __version__
from coffre.model.errors import CoffreError
from coffre.model.locks import LockMode
from coffre.operations.doctor.aws_calls import ask, ask_unless
from coffre.operations.doctor.checkup import Reader
from coffre.operations.doctor.copies import as_tried, read_copies
from coffre.operations.doctor.history import keys_opened
from coffre.operations.doctor.network import read_network
from coffre.operations.doctor.stack import (
    read_function,
    read_limits,
    read_recovery,
    read_refusals,
    read_rules,
    read_subscriptions,
)
from coffre.operations.doctor.vault_settings import probe_locks, read_settings
from coffre.policy.checks.answers import Answer, Refused
from coffre.policy.checks.copies_facts import CopiesFacts, CopyPlace
from coffre.policy.checks.history_facts import KeyFacts
from coffre.policy.checks.keys import KEY_MAX_AGE
from coffre.policy.checks.local_facts import LocalFacts
from coffre.policy.checks.objectives import ObjectivesFacts
from coffre.policy.checks.stack_facts import Function, Network, StackFacts
from coffre.policy.checks.vault_facts import LockProbe, VaultSettings
from coffre.policy.journal_health import has_journal
from coffre.policy.objectives import unreachable
from coffre.runtime.copy_destinations import open_destination
from coffre.runtime.sources import read_secret
from coffre_cli import aws
from coffre_cli.deployed import DeployedStack
from coffre_cli.stack_choice import aws_refused

_FUNCTION: Final = "Function"
_MEMORY: Final = ("MemorySize", "DrillMemorySize")

type NewClient = Callable[[str], Any]


def readers_of_stack(deployed: DeployedStack, *, probe: bool = False) -> tuple[Reader, ...]:
    """Return what is read of a stack.

    Parameters
    ----------
    probe
        Store a locked object in the vault, and try to delete it.
    """
    stack = _Stack(deployed)
    readers = [
        Reader((StackFacts, Network), stack.stack_and_network),
        Reader((VaultSettings,), stack.vault),
    ]
    if _holds(lambda: deployed.configuration.encryption == "age"):
        readers.append(Reader((KeyFacts,), stack.keys))
    readers.append(Reader((CopiesFacts,), partial(stack.copies, probe=probe)))
    readers.append(Reader((ObjectivesFacts,), stack.objectives))
    if probe and _holds(lambda: stack.lock_mode is not None):
        readers.append(Reader((LockProbe,), stack.probe))
    return tuple(readers)


def readers_of_machine() -> tuple[Reader, ...]:
    """Return what is read of the machine that runs the command. It needs no stack."""
    return (Reader((LocalFacts,), _read_machine),)


def _read_machine() -> Iterator[LocalFacts]:
    """Ask STS whose credentials this machine has, and compare the clocks."""
    with _clients() as new:
        answer = ask("sts:GetCallerIdentity", lambda: new("sts").get_caller_identity())
    caller: Answer[str] = answer if isinstance(answer, Refused) else answer["Arn"]
    ahead = None if isinstance(answer, Refused) else _clock_ahead(answer)
    yield LocalFacts(caller, aws.region(), ahead, sys.version_info[:2])


@dataclass(frozen=True)
class _Stack:
    deployed: DeployedStack

    def stack_and_network(self) -> Iterator[object]:
        """Read how the stack is set up, and how the subnets of its functions are."""
        outputs, name = self.deployed.outputs, self.deployed.name
        with _clients() as new:
            cloudformation, functions = new("cloudformation"), new("lambda")
            found = [
                read_function(functions, outputs[output]) for output in sorted(outputs) if output.endswith(_FUNCTION)
            ]
            yield StackFacts(
                stack=name,
                version=outputs.get("Version"),
                command_version=__version__,
                catalog_table=outputs["CatalogTable"],
                refusals=read_refusals(cloudformation, name, self._description.get("StackStatus", "")),
                wanted_memory_mb={key: int(self._parameters[key]) for key in _MEMORY if key in self._parameters},
                targets=len(self.deployed.configuration.targets),
                subscriptions=read_subscriptions(new("sns"), outputs["AlertTopic"]),
                rules=read_rules(cloudformation, new("events"), name),
                functions=tuple(function for function, _ in found),
                limits=read_limits(functions),
                point_in_time_recovery=read_recovery(new("dynamodb"), outputs["CatalogTable"]),
                journals=tuple(one.name for one in self.deployed.configuration.databases if has_journal(one)),
            )
            subnets = sorted({subnet for _, subnets in found for subnet in subnets})
            unknown = _unread_functions(function for function, _ in found)
            bucket, region = outputs["VaultBucket"], self._region
            if unknown is not None:
                yield Network(region, bucket, unknown, unknown)
            else:
                yield read_network(new("ec2"), subnets, region=region, vault_bucket=bucket)

    def vault(self) -> Iterator[VaultSettings]:
        """Read how the vault's bucket is set up."""
        with _clients() as new:
            yield read_settings(new("s3"), self.deployed.outputs["VaultBucket"], self._prefix, self._account)

    def copies(self, *, probe: bool) -> Iterator[CopiesFacts]:
        """Open and list each copy with these credentials; then the function that copies says what its role can do.

        If the function does not answer, what these credentials see has to do.
        """
        with _clients() as new:
            secrets = new("secretsmanager")
            seen = read_copies(
                self.deployed.configuration.copies,
                lambda destination: open_destination(destination, lambda name: read_secret(secrets, name)),
                vault_bucket=self.deployed.outputs["VaultBucket"],
                vault_region=self._region,
            )
        if not seen.places:
            yield seen
            return
        try:
            answer = self.deployed.ask("copy", {"doctor": True, **({"probe": True} if probe else {})})
            tried = TypeAdapter(tuple[CopyPlace, ...]).validate_python(answer["places"])
        except (CoffreError, KeyError, ValidationError):
            tried = ()
        yield as_tried(seen, tried)

    def objectives(self) -> Iterator[ObjectivesFacts]:
        """Compare the schedules with the objectives."""
        yield ObjectivesFacts(unreachable(self.deployed.configuration, datetime.now(UTC)))

    def keys(self) -> Iterator[KeyFacts]:
        """Read which keys backups have, and when each was tried."""
        configuration, catalog = self.deployed.configuration, self.deployed.catalog
        now, secret = datetime.now(UTC), self.deployed.outputs["IdentitySecret"]
        names = [target.name for target in configuration.targets]
        used = {key: catalog.recipients.first_used(key) for key in configuration.all_recipients}
        verified = {
            name: max((one.verified_at for one in catalog.completed_backups(name) if one.verified_at), default=None)
            for name in names
        }
        with _clients() as new:
            yield KeyFacts(
                now=now,
                recipients={name: configuration.recipients_of(name) for name in names},
                opened=keys_opened(catalog.audit.events(since=now - KEY_MAX_AGE)),
                used_since={key: since for key, since in used.items() if since},
                verified_at={name: at for name, at in verified.items() if at},
                identity_secret=secret,
                identity=ask_unless(
                    "secretsmanager:DescribeSecret",
                    lambda: "DeletedDate" not in new("secretsmanager").describe_secret(SecretId=secret),
                    "ResourceNotFoundException",
                    default=False,
                ),
            )

    def probe(self) -> Iterator[LockProbe]:
        """Try to delete a locked object."""
        mode = self.lock_mode or LockMode.GOVERNANCE
        key = "/".join(filter(None, (self._prefix, "scratch", str(ULID()), "doctor-probe")))
        with _clients() as new:
            yield probe_locks(new("s3"), self.deployed.outputs["VaultBucket"], key, mode, lambda: datetime.now(UTC))

    @property
    def lock_mode(self) -> LockMode | None:
        """The mode of the locks that backups get; None: they get none."""
        mode = self._parameters.get("ObjectLock", "off")
        return None if mode == "off" else LockMode(mode)

    @property
    def _prefix(self) -> str:
        return self.deployed.outputs["VaultPrefix"].strip("/")

    @property
    def _region(self) -> str:
        return self.deployed.outputs["AlertTopic"].split(":")[3]

    @property
    def _account(self) -> str:
        return self.deployed.outputs["AlertTopic"].split(":")[4]

    @property
    def _parameters(self) -> dict[str, str]:
        return {one["ParameterKey"]: one["ParameterValue"] for one in self._description.get("Parameters", [])}

    @cached_property
    def _description(self) -> Mapping[str, Any]:
        """The stack as CloudFormation describes it; the outputs are known already."""
        from botocore.exceptions import BotoCoreError, ClientError

        with _clients() as new:
            try:
                stacks: Mapping[str, Any] = new("cloudformation").describe_stacks(StackName=self.deployed.name)
            except (ClientError, BotoCoreError) as error:
                raise aws_refused(error) from error
        found: Mapping[str, Any] = stacks["Stacks"][0]
        return found


@contextmanager
def _clients() -> Iterator[NewClient]:
    """Give out what makes clients, and close them. They give up soon: a doctor must not hang without a network."""
    from botocore.config import Config

    patience = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
    with ExitStack() as opened:

        def new(service: str) -> Any:
            return opened.enter_context(closing(aws.client(service, patience)))

        yield new


def _holds(condition: Callable[[], bool]) -> bool:
    """Return whether something applies; also when that cannot be read, which its reader then reports."""
    try:
        return condition()
    except CoffreError:
        return True


def _clock_ahead(answer: Mapping[str, Any]) -> float | None:
    """Return how far this machine's clock is ahead of the one that answered, to the second of its header."""
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return (datetime.now(UTC) - parsedate_to_datetime(said)).total_seconds() if said else None


def _unread_functions(functions: Iterator[Function]) -> Refused | None:
    """Return why the subnets of functions are not known."""
    return next((one.memory_mb for one in functions if isinstance(one.memory_mb, Refused)), None)
