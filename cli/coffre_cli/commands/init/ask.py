"""The six answers: from options, from what is deployed, or from the person at the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from coffre.model.errors import CoffreError
from coffre_cli import aws
from coffre_cli.commands.init.existing_resources import OFFLINE, Before, Place, Secrets
from coffre_cli.commands.init.plan import Answers, wants_second_key
from coffre_cli.commands.init.questions import InitError, Questions
from coffre_cli.commands.init.server import Address, Server, given_address, look_at
from coffre_cli.screen import remark, show_error

if TYPE_CHECKING:
    from coffre.model.provider import Provider

# More names than this are not shown as a proposal.
_SHOWN = 12
_ALL = "all"


@dataclass(frozen=True)
class Given:
    """What the options say; empty or None: it is asked. `offline` False: no second key is wanted."""

    address: str | None
    databases: tuple[str, ...]
    buckets: tuple[str, ...]
    offline: Path | Literal[False] | None
    mail: str | None
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    architecture: str | None
    provider: Provider = "auto"


def ask(place: Place, before: Before, secrets: Secrets, given: Given, questions: Questions) -> Answers:
    """Return the answers; the address is tried immediately.

    Raises
    ------
    CoffreError
        An answer is missing or wrong; nothing was made.
    """
    known = None if given.address else _known(place, before, secrets)
    address, server = _asked(questions, given.address or known, lambda: _address(known, given, questions))
    databases = _asked(
        questions, given.databases, lambda: _databases(address, server, given, questions, is_known=known is not None)
    )
    buckets = _asked(questions, given.buckets, lambda: _buckets(place, given, questions))
    offline = _offline(place, before, given, questions)
    mail = _asked(questions, given.mail, lambda: _mail(before, given, questions))
    subnets, groups = _asked(questions, given.subnets, lambda: _network(before, server, given, questions))
    is_server = _ALL in databases
    return Answers(
        {name: address.of_database(name) for name in ([address.connection.database] if is_server else databases)},
        buckets,
        offline,
        mail,
        subnets,
        groups,
        given.architecture,
        given.provider,
        is_server,
    )


def _asked[T](questions: Questions, is_given: object, ask: Callable[[], T]) -> T:
    """Ask again after an answer that does not do; an option that does not do ends the command."""
    while True:
        try:
            return ask()
        except CoffreError as error:
            if is_given or not questions.is_terminal:
                raise
            show_error(error)


def _address(known: Address | None, given: Given, questions: Questions) -> tuple[Address, Server]:
    if given.address:
        address = Address.parse(given_address(given.address), "--address")
    elif known is not None:
        address = known
    else:
        text = questions.hidden(
            "1. The database's address, as your provider shows it: postgresql://USER:PASSWORD@HOST:5432/DATABASE. It "
            "is stored in AWS Secrets Manager, and nowhere else. What you type is not shown.",
            "Address",
            "--address",
        )
        address = Address.parse(text, "the address")
    server = look_at(address, given.provider)
    if server.version is None:
        remark(f"{address.connection} cannot be reached from this machine: the function will try it from its network.")
        return address, server
    of_whom = f", {server.profile.title}" if server.profile and server.profile.name != "plain" else ""
    remark(f"{address.connection} answers: PostgreSQL {server.version}{of_whom}.")
    for warning in server.profile.warnings if server.profile else ():
        remark(f"  Note: {warning}")
    return address, server


def _known(place: Place, before: Before, secrets: Secrets) -> Address | None:
    """Return the address that an earlier run has stored."""
    for target in before.targets:
        name = str(target.get("secret", ""))
        if name.startswith(place.database_secret("")) and (text := secrets.read(name)):
            return Address.parse(text, f"the secret {name}")
    return None


def _databases(
    address: Address, server: Server, given: Given, questions: Questions, *, is_known: bool
) -> Sequence[str]:
    """Return names, or `all`; none when an earlier run has protected what its address leads to."""
    if given.databases:
        wanted: Sequence[str] = given.databases
    elif is_known:
        return ()
    elif len(server.databases) > 1 and server.version is not None:
        shown = ", ".join(server.databases[:_SHOWN]) + (", ..." if len(server.databases) > _SHOWN else "")
        about = f"2. Which databases of this server? It has: {shown}. Names with commas, or `all`, new ones included."
        wanted = questions.names(about, "Databases", [address.connection.database])
    else:
        return (address.connection.database,)
    if _ALL in wanted:
        return (_ALL,)
    missing = [name for name in wanted if name not in server.databases] if server.version else []
    if missing or not wanted:
        raise InitError(
            f"The server has no database {', '.join(missing)}." if missing else "No database was named.",
            detail=f"It has: {', '.join(server.databases)}",
            hint="Check the spelling: --database NAME",
        )
    return wanted


def _buckets(place: Place, given: Given, questions: Questions) -> tuple[str, ...]:
    s3 = aws.client("s3")
    if given.buckets or not questions.is_terminal:
        wanted = given.buckets
    else:
        own = (f"{place.stack}-vaultbucket", f"{place.stack}-accesslog", "coffre-deploy-", "aws-sam-cli-")
        found = [one["Name"] for one in s3.list_buckets()["Buckets"] if not one["Name"].startswith(own)]
        shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        about = "3. Which buckets of this account? " + (f"It has: {shown}. " if found else "") + "Enter: none."
        wanted = questions.names(about, "Buckets", [])
    for name in wanted:
        try:
            s3.head_bucket(Bucket=name)
        except s3.exceptions.ClientError as error:
            raise InitError(
                f'The bucket "{name}" cannot be looked at.',
                detail=str(error)[:300],
                hint="Check its name. Buckets in other stores, such as R2, come later: docs/storage.md.",
            ) from error
    return wanted


def _offline(place: Place, before: Before, given: Given, questions: Questions) -> Path | None:
    if given.offline is False or not wants_second_key(before):
        return None
    if given.offline is not None:
        return given.offline
    default = place.directory / OFFLINE
    answer = questions.text(
        "4. Two keys open your backups: one for the functions, in AWS, and one that you keep away from AWS, for when "
        "the account is lost. To which new file does the second one go?",
        "File",
        str(default),
    )
    return None if answer == "-" else Path(answer)


def _mail(before: Before, given: Given, questions: Questions) -> str | None:
    known = before.parameters.get("AlertEmail", "")
    answer = given.mail or questions.text("5. Who gets a mail when something is wrong?", "Mail address", known)
    if answer in ("", "-"):
        return None
    if "@" not in answer.strip("@") or any(letter.isspace() for letter in answer):
        raise InitError(f"{answer} is not a mail address.", hint="For example: --mail ops@example.com")
    return answer


def _network(
    before: Before, server: Server, given: Given, questions: Questions
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = [name for name in before.parameters.get("SubnetIds", "").split(",") if name]
    known_groups = tuple(name for name in before.parameters.get("SecurityGroupIds", "").split(",") if name)
    subnets = given.subnets or questions.names(
        "6. Is the database in a VPC, closed to the internet? Then name the subnets (subnet-...) and security groups "
        "(sg-...) from which it can be reached. Enter: no.",
        "Subnets and security groups",
        [*known, *known_groups],
    )
    groups = given.security_groups or tuple(name for name in subnets if name.startswith("sg-")) or known_groups
    subnets = tuple(name for name in subnets if not name.startswith("sg-"))
    if subnets and not groups:
        raise InitError("Subnets need a security group.", hint="--security-group sg-... (docs/install.md)")
    if server.refusal is not None and not subnets:
        raise InitError(
            "The database cannot be reached from this machine, and no subnets were named from which it can.",
            code=server.refusal.code,
            detail=server.refusal.message,
            hint="Correct the address; or, for a database in a VPC: --subnet subnet-... --security-group sg-...",
        )
    return subnets, groups if subnets else ()
