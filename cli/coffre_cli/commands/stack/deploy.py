"""`coffre deploy`: the stack from the code that this installation carries, without a checkout or SAM."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import typer

from coffre import __version__
from coffre.model.names import visible
from coffre_cli import aws
from coffre_cli.aws import asked_place
from coffre_cli.commands.init.questions import InitError, Questions
from coffre_cli.deploying import receiver
from coffre_cli.deploying.account import Account
from coffre_cli.deploying.bundle import ARCHITECTURES, built_code
from coffre_cli.deploying.change_set import Change, ChangeSet
from coffre_cli.deploying.deploy import ARCHITECTURE, DEFAULT_ARCHITECTURE, Deployment, read_parameters
from coffre_cli.deploying.left_vault import refuse_leaving
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.output_file import new_file
from coffre_cli.screen import error_console, print_json, remark, say, say_command

EXAMPLES = examples(
    "coffre deploy --stack coffre",
    "coffre deploy --stack coffre --parameters parameters.yaml",
    "coffre deploy --stack coffre --yes --json | jq .outputs",
    "coffre deploy --dry-run",
    "coffre deploy --for-receiver receiver-parameters.yaml",
    "coffre deploy --receiver --parameters receiver-parameters.yaml",
    "coffre deploy --unpack ./built",
)

# CloudFormation's rule (its API reference, CreateStack); `NAME-backup-database` is a function's, which takes 64.
_STACK_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,47}")


def _stack_name(text: str) -> str:
    if _STACK_NAME.fullmatch(text) is None:
        raise typer.BadParameter(
            f'"{text}" cannot name a stack: letters, digits and dashes, at most 48, and a letter comes first'
        )
    return text


StackName = Annotated[
    str,
    typer.Option(
        "--stack",
        metavar="NAME",
        envvar="COFFRE_STACK",
        callback=_stack_name,
        help="Name of the CloudFormation stack.",
    ),
]
DeployedName = Annotated[
    str | None,
    typer.Option(
        "--stack",
        metavar="NAME",
        envvar="COFFRE_STACK",
        callback=lambda text: None if text is None else _stack_name(text),
        help=f"Name of the CloudFormation stack. Default: coffre; with --receiver {receiver.STACK}.",
    ),
]
BuiltOption = Annotated[
    Path | None,
    typer.Option(
        "--built", metavar="DIR", help="Deploy what `sam build` wrote there, not what this installation carries."
    ),
]
CodeBucketOption = Annotated[
    str | None,
    typer.Option(
        "--code-bucket", metavar="NAME", help="Upload code to this bucket. Default: coffre-deploy-ACCOUNT-REGION."
    ),
]
_STACK: Final = "coffre"
_EMAIL: Final = "AlertEmail"
_QUESTIONS: Final = {
    receiver.COPY_ROLE: "The role of the source that copies: arn:aws:iam::ACCOUNT:role/NAME.",
    receiver.READER_ROLES: "The roles of the source that read copies, with commas between them.",
    _EMAIL: "Who is notified when the rotation here fails? Enter: no one.",
}
# How many changes are listed one by one.
_LISTED = 12


def deploy(
    stack: DeployedName = None,
    parameters: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Template parameters, as `Name: value` lines (YAML). Others keep their values."
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(metavar="|".join(ARCHITECTURES), help="Default: that of the stack, else x86_64."),
    ] = None,
    built: BuiltOption = None,
    code_bucket: CodeBucketOption = None,
    unpack: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Only write the template and the code to this new directory, for SAM."),
    ] = None,
    is_receiver: Annotated[
        bool,
        typer.Option("--receiver", help="The small stack of an account that receives copies of another one's backups."),
    ] = False,
    for_receiver: Annotated[
        Path | None,
        typer.Option(
            "--for-receiver",
            metavar="FILE",
            help="Only write the parameters that the receiving account needs (the ARNs of this stack's roles).",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be changed, and change nothing but the uploaded code.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the stack is changed.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout, for scripts; without --yes nothing is changed.")
    ] = False,
) -> None:
    """Create or update the stack in your AWS account: the way to upgrade it after an upgrade of this command.

    The code is uploaded to a bucket of your account, and CloudFormation says what would change. After your yes it
    is changed. Parameters that are not given keep their values; backups and their catalog always stay.

    With --receiver it is the stack of another account, best of other people, which receives copies and lets no one of
    this account destroy them (docs/copies-care.md).
    """
    if architecture is not None and architecture not in ARCHITECTURES:
        raise typer.BadParameter(f"--architecture is {' or '.join(ARCHITECTURES)}")
    if unpack is not None:
        write_code(architecture or DEFAULT_ARCHITECTURE, built, unpack)
        return
    if for_receiver is not None:
        _write_for_receiver(stack or _STACK, for_receiver, is_receiver=is_receiver)
        return
    stack = stack or (receiver.STACK if is_receiver else _STACK)
    wanted = read_parameters(parameters) if parameters else {}
    if architecture:
        wanted[ARCHITECTURE] = architecture
    account = Account.asked()
    remark(f"Stack {stack} in account {account.id}, {asked_place()}.")
    deployment = Deployment.of(
        account, stack, built=built, bucket=code_bucket, on_step=progress, is_receiver=is_receiver
    )
    if is_receiver:
        wanted = _with_answers(wanted, deployment)
    proposed = deployment.propose(wanted)
    if yes and not dry_run:
        refuse_leaving(deployment.stack, proposed, wanted)
    if dry_run or not (yes or _is_confirmed(proposed, as_json=as_json)):
        _leave(deployment, proposed, dry_run=dry_run, as_json=as_json)
        return
    outputs = carried_out(deployment, proposed)
    if as_json:
        print_json({"stack": stack, "changes": len(proposed.changes), "outputs": outputs})
    elif proposed.changes:
        say(f"The stack {stack} is deployed (Coffre {__version__}).", style="green")
        if is_receiver:
            say(f"In the source: CopyBuckets is {outputs['CopyBucket']}, and its copy gets deleted_by: receiver.")
    else:
        say(f"The stack {stack} is up to date (Coffre {__version__}): nothing was changed.")


def _is_confirmed(proposed: ChangeSet, *, as_json: bool) -> bool:
    if not proposed.changes:
        return True
    show_changes(proposed)
    return not as_json and typer.confirm("Deploy this?", default=False, err=True)


def _leave(deployment: Deployment, proposed: ChangeSet, *, dry_run: bool, as_json: bool) -> None:
    """Discard what would have been changed; that is what a dry run is for, and no success otherwise."""
    if dry_run:
        show_changes(proposed)
    if proposed.changes:
        deployment.stack.discard(proposed)
    if dry_run and as_json:
        changes, outputs = len(proposed.changes), deployment.stack.outputs()
        print_json({"stack": deployment.stack.name, "changes": changes, "outputs": outputs})
    remark("Nothing was changed.")
    if not dry_run:
        raise typer.Exit(Exit.FAILED)


def _with_answers(wanted: dict[str, str], deployment: Deployment) -> dict[str, str]:
    """Ask for what a new receiver needs; raises `InitError` for an answer that is missing."""
    known = deployment.stack.parameters()
    questions = Questions.of_this_terminal()
    answers = dict(wanted)
    for name, about in _QUESTIONS.items():
        if name not in answers and name not in known and (answer := questions.text(about, name, "")):
            answers[name] = answer
        if name != _EMAIL and not answers.get(name, known.get(name)):
            raise InitError(
                f"{name} is missing: the receiver does not know who sends copies.",
                hint="In the source's account: coffre deploy --for-receiver FILE. Then here: --parameters FILE",
            )
    if f"::{deployment.account.id}:" in answers.get(receiver.COPY_ROLE, ""):
        remark("The source is this same account: its administrators can delete the backups and their copies.")
    return answers


def _write_for_receiver(stack: str, file: Path, *, is_receiver: bool) -> None:
    """Write the parameters for the receiving account to a new file."""
    if is_receiver:
        raise typer.BadParameter("--for-receiver is for the account that sends, --receiver for the one that receives")
    account = Account.asked()
    partition = aws.session().get_partition_for_region(account.region)
    found = receiver.parameters_for_receiver(aws.client("cloudformation"), account, partition, stack)
    lines = [f"{name}: {value if isinstance(value, str) else ','.join(value)}" for name, value in found.items()]
    with new_file(file) as output:
        output.write(("\n".join(lines) + "\n").encode())
    say(f"The parameters are in {file}. In the receiving account:")
    say_command(f"coffre deploy --receiver --parameters {file}")


def progress(text: str) -> None:
    """Show a step of a deployment on stderr."""
    remark(f"  {text}")


def carried_out(deployment: Deployment, proposed: ChangeSet) -> dict[str, str]:
    """Carry out a change set that has changes, and return the outputs; each resource is shown on a terminal only.

    Ctrl-C ends the command alone: CloudFormation continues, and the next deployment waits for it.
    """
    stack = deployment.stack
    if not proposed.changes:
        return stack.outputs()
    progress("CloudFormation makes the resources" if proposed.is_new else "CloudFormation changes the resources")
    try:
        with error_console.status("Deploying", spinner="dots") as status:
            return stack.carry_out(proposed, lambda text: status.update(visible(text)))
    except KeyboardInterrupt:
        remark(f"Interrupted. CloudFormation continues: coffre deploy --stack {stack.name} waits for it.")
        raise typer.Exit(Exit.INTERRUPTED) from None


def show_changes(proposed: ChangeSet) -> None:
    """Show what a change set would do, on stderr: what is replaced or removed by name."""
    counts = Counter(change.action for change in proposed.changes)
    words = {"Add": "added", "Modify": "changed", "Remove": "removed"}
    told = ", ".join(f"{number} {words.get(action, action)}" for action, number in sorted(counts.items()))
    remark(f"{'A new stack' if proposed.is_new else 'The stack'}: {told}.")
    named = [change for change in proposed.changes if change.action != "Add"]
    for change in sorted(named, key=_weight)[:_LISTED]:
        remark(f"  {_words(change)}")
    if len(named) > _LISTED:
        remark(f"  and {len(named) - _LISTED} more")


def _weight(change: Change) -> tuple[bool, bool, str]:
    return change.action != "Remove", change.replacement != "True", change.resource


def _words(change: Change) -> str:
    done = {"Modify": "change", "Remove": "REMOVE"}.get(change.action, change.action.lower())
    if change.replacement in ("True", "Conditional"):
        done += " (replaced)" if change.replacement == "True" else " (may be replaced)"
    return f"{done}: {change.resource}, {change.kind}"


def write_code(architecture: str, built: Path | None, directory: Path) -> None:
    """Write the template and the code as `sam build` would, to look at or to deploy with SAM."""
    if directory.exists():
        raise typer.BadParameter(f"{directory} exists already: name a new directory")
    with built_code(architecture, built) as code:
        shutil.copytree(code.place, directory)
    say(f"The template and the code for {architecture} are in {directory}. SAM deploys them so:")
    say_command(sam_command(directory, "coffre", None))


def sam_command(directory: Path, stack: str, parameters: Path | None) -> str:
    """Return the command that deploys written code with SAM."""
    given = f" --parameter-overrides file://{parameters}" if parameters else ""
    return (
        f"sam deploy --template-file {directory}/template.yaml --stack-name {stack} --resolve-s3 "
        f"--capabilities CAPABILITY_IAM{given}"
    )
