"""`coffre init`: six questions, and then a deployed stack with a backup that was restored."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from coffre.model.provider import Provider
from coffre_cli import aws
from coffre_cli.aws import asked_place
from coffre_cli.commands.config.change import write_version
from coffre_cli.commands.init.ask import Given, ask
from coffre_cli.commands.init.existing_resources import Before, Place, Secrets, look_before
from coffre_cli.commands.init.plan import Answers, Plan, document_of, plan_of
from coffre_cli.commands.init.prove import Findings, await_mail, conclude, prove
from coffre_cli.commands.init.questions import Questions
from coffre_cli.commands.init.write import make_keys, validated, write_files
from coffre_cli.commands.stack.deploy import (
    BuiltOption,
    CodeBucketOption,
    StackName,
    carried_out,
    progress,
    sam_command,
)
from coffre_cli.deployed import DeployedStack
from coffre_cli.deploying.account import Account
from coffre_cli.deploying.bundle import ARCHITECTURES
from coffre_cli.deploying.deploy import Deployment
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import print_json, remark, say, say_command

EXAMPLES = examples(
    "coffre init",
    "coffre init --dry-run --address env:DATABASE_URL",
    "coffre init --address file:url.txt --bucket avatars --mail ops@example.com",
    "coffre init --mail-wait 0 --json | jq .missing",
)


def init(
    stack: StackName = "coffre",
    address: Annotated[
        str | None,
        typer.Option(metavar="env:NAME|file:PATH", help="Where the database's address is. Asked without echo."),
    ] = None,
    provider: Annotated[
        str, typer.Option(metavar="|".join(get_args(Provider)), help="Whose server it is; auto: it is recognized.")
    ] = "auto",
    database: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A database of that server; repeatable. `all`: new ones too."),
    ] = None,
    bucket: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A bucket of this account to protect; repeatable.")
    ] = None,
    offline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the second private key goes, to be kept offline.")
    ] = None,
    no_offline: Annotated[bool, typer.Option("--no-offline", help="Make one key pair only.")] = False,
    mail: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Who is notified of problems.")] = None,
    region: Annotated[str | None, typer.Option(help="The AWS region. Default: that of your AWS profile.")] = None,
    subnet: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A subnet that reaches the database, for one in a VPC; repeatable."),
    ] = None,
    security_group: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A security group for those subnets; repeatable.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(metavar="|".join(ARCHITECTURES), help="Default: that of the stack, else x86_64.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the files to read are written. Default: ./STACK.")
    ] = None,
    mail_wait: Annotated[
        float, typer.Option(metavar="MINUTES", min=0, help="How long to wait for the mail's confirmation.")
    ] = 10,
    built: BuiltOption = None,
    code_bucket: CodeBucketOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing: only show what would be done.")] = False,
    print_only: Annotated[
        bool, typer.Option("--print", help="Make keys, secrets and files, and print the commands to deploy by hand.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, for scripts.")] = False,
) -> None:
    """Protect a database and buckets, from nothing to a first backup that was restored in a drill.

    Asks at most six questions; each is also an option. Then it makes keys and secrets, deploys the stack, takes the
    first backup and restores it in a drill. The last lines say whether you are protected, and what is missing.

    Run it again at any time, also after Ctrl-C: it finds out what exists, and makes or changes only what differs. It
    removes nothing. Without a terminal nothing is asked: options and defaults decide.
    """
    if architecture is not None and architecture not in ARCHITECTURES:
        raise typer.BadParameter(f"--architecture is {' or '.join(ARCHITECTURES)}")
    if provider not in get_args(Provider):
        raise typer.BadParameter(f"--provider is one of {', '.join(get_args(Provider))}")
    if offline and no_offline:
        raise typer.BadParameter("--offline and --no-offline exclude each other")
    if region:
        os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"] = region
    given = Given(
        address,
        tuple(database or ()),
        tuple(bucket or ()),
        False if no_offline else offline,
        mail,
        tuple(subnet or ()),
        tuple(security_group or ()),
        architecture,
        cast("Provider", provider),
    )
    place = Place(stack, directory or Path(stack))
    try:
        run = _Run.begin(place, built, code_bucket)
        findings = _protect(run, given, mail_wait, dry_run=dry_run, print_only=print_only)
    except KeyboardInterrupt:
        remark("Interrupted. What is done stays. Run `coffre init` again: it continues where it was.")
        raise typer.Exit(Exit.INTERRUPTED) from None
    if findings is None:
        return
    if as_json:
        found = {"proved": findings.proved, "missing": findings.missing, "warnings": findings.warnings}
        print_json({"protected": not findings.missing, **found})
    else:
        conclude(stack, findings)
    if findings.missing:
        raise typer.Exit(Exit.FAILED if findings.has_failed else Exit.EXCEPTIONS)


def _protect(run: _Run, given: Given, mail_wait: float, *, dry_run: bool, print_only: bool) -> Findings | None:
    """Go all the way; None where a dry run, or the printed commands, are its end."""
    answers, plan = run.planned(given)
    if dry_run:
        remark("Nothing was written.")
        return None
    made = run.make(answers, plan)
    if print_only:
        _print_commands(run.place)
        return None
    return run.deploy_and_prove(made, answers.mail, mail_wait)


class _Run:
    """One run of `init`: where it works, and what exists already."""

    def __init__(self, place: Place, deployment: Deployment, secrets: Secrets) -> None:
        self.place = place
        self._deployment = deployment
        self._secrets = secrets
        self._before: Before = look_before(place, deployment.stack, secrets)

    @classmethod
    def begin(cls, place: Place, built: Path | None, code_bucket: str | None) -> _Run:
        """Find out who runs it, and what exists."""
        account = Account.asked()
        remark(f"Stack {place.stack} in account {account.id}, {asked_place()}.")
        deployment = Deployment.of(account, place.stack, built=built, bucket=code_bucket, on_step=progress)
        deployment.stack.settled(progress)
        return cls(place, deployment, Secrets(aws.client("secretsmanager")))

    def planned(self, given: Given) -> tuple[Answers, Plan]:
        """Ask what was not given, and show what would be done."""
        answers = ask(self.place, self._before, self._secrets, given, Questions.of_this_terminal())
        names = map(self.place.database_secret, answers.names.values())
        plan = plan_of(self.place, self._before, answers, {name: self._secrets.read(name) for name in names})
        _refuse_invalid(self._before, plan)
        remark("")
        remark("What will be done:" if plan.changes else "Everything is as you want it; only the proof is looked at.")
        for sentence in plan.changes:
            remark(f"  - {sentence}")
        remark("")
        return answers, plan

    def make(self, answers: Answers, plan: Plan) -> _Made:
        """Make keys, secrets and files."""
        recipients: Sequence[str] = ()
        if self._before.document.get("encryption", "age") == "age":
            recipients = make_keys(self.place, self._before, answers, self._secrets)
        for name, text in plan.secrets.items():
            self._secrets.write(name, text)
        document = document_of(self._before, plan, recipients)
        validated(document, str(self.place.configuration))
        parameters = write_files(self.place, self._before, plan, document)
        remark(f"  To read: {self.place.configuration} and {self.place.parameters}.")
        return _Made(parameters, document)

    def deploy_and_prove(self, made: _Made, mail: str | None, minutes: float) -> Findings:
        """Deploy what differs, then find out what is proved and what is missing."""
        outputs = carried_out(self._deployment, self._deployment.propose(made.parameters))
        deployed = DeployedStack(self.place.stack, outputs)
        if self._before.is_deployed and made.document != self._before.document:
            number = write_version(deployed, json.dumps(made.document, indent=2, ensure_ascii=False), "coffre init")
            remark(f"  Version {number} of the configuration is in effect.")
            deployed = DeployedStack(self.place.stack, outputs)
        findings = Findings()
        prove(deployed, {one["name"] for one in made.document["targets"] if one not in self._before.targets}, findings)
        await_mail(outputs["AlertTopic"], mail, minutes, findings)
        _look_at_keys(deployed, findings)
        return findings


@dataclass(frozen=True)
class _Made:
    """The template's parameters, and the configuration document that is wanted."""

    parameters: Mapping[str, str]
    document: Mapping[str, Any]


def _refuse_invalid(before: Before, plan: Plan) -> None:
    """Refuse what the functions would refuse, before anything is made: with a key that is used for nothing else."""
    from coffre.vault.codec import new_identity, public_key

    document: dict[str, Any] = document_of(
        before, plan, before.document.get("recipients") or [public_key(new_identity())]
    )
    validated(document, "the answers")


def _look_at_keys(deployed: DeployedStack, findings: Findings) -> None:
    configuration = deployed.configuration
    if configuration.encryption == "none":
        findings.missing.append("Backups are NOT encrypted by Coffre: encryption is none in the configuration.")
    elif len(configuration.all_recipients) == 1:
        findings.missing.append(
            "Only one key opens the backups; a second one, kept offline: coffre init --offline FILE"
        )


def _print_commands(place: Place) -> None:
    say("To deploy:")
    say_command(f"coffre deploy --stack {place.stack} --parameters {place.parameters}")
    say("Or with SAM:")
    built = place.directory / "built"
    say_command(f"coffre deploy --unpack {built}\n{sam_command(built, place.stack, place.parameters)}")
    say("Then run `coffre init` again: it takes the first backup, and restores it in a drill.")
