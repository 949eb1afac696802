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
from coffre_cli.deployed import asked_place
from coffre_cli.deploying.bundle import ARCHITECTURES, built_code
from coffre_cli.deploying.change_set import Change, ChangeSet
from coffre_cli.deploying.deploy import ARCHITECTURE, DEFAULT_ARCHITECTURE, Account, Deployment, read_parameters
from coffre_cli.examples import examples
from coffre_cli.exits import Exit
from coffre_cli.screen import error_console, print_json, remark, say, say_command

EXAMPLES = examples(
    "coffre deploy --stack coffre",
    "coffre deploy --stack coffre --parameters parameters.yaml",
    "coffre deploy --stack coffre --yes --json | jq .outputs",
    "coffre deploy --unpack ./built",
)

# CloudFormation's rule (its API reference, CreateStack).
_STACK_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")


def _stack_name(text: str) -> str:
    if _STACK_NAME.fullmatch(text) is None:
        raise typer.BadParameter(
            f'"{text}" cannot name a stack: letters, digits and dashes, at most 128, and a letter comes first'
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
# How many changes are listed one by one.
_LISTED = 12


def deploy(
    stack: StackName = "coffre",
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
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the stack is changed.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout, for scripts; without --yes nothing is changed.")
    ] = False,
) -> None:
    """Create or update the stack in your AWS account: the way to upgrade it after an upgrade of this command.

    The code is uploaded to a bucket of your account, and CloudFormation says what would change. After your yes it
    is changed. Parameters that are not given keep their values; backups and their catalog always stay.
    """
    if architecture is not None and architecture not in ARCHITECTURES:
        raise typer.BadParameter(f"--architecture is {' or '.join(ARCHITECTURES)}")
    if unpack is not None:
        write_code(architecture or DEFAULT_ARCHITECTURE, built, unpack)
        return
    wanted = read_parameters(parameters) if parameters else {}
    if architecture:
        wanted[ARCHITECTURE] = architecture
    account = Account.asked()
    remark(f"Stack {stack} in account {account.id}, {asked_place()}.")
    deployment = Deployment.of(account, stack, built=built, bucket=code_bucket, on_step=progress)
    proposed = deployment.propose(wanted)
    if proposed.changes and not yes:
        show_changes(proposed)
        if as_json or not typer.confirm("Deploy this?", default=False, err=True):
            deployment.stack.discard(proposed)
            remark("Nothing was changed.")
            raise typer.Exit(Exit.FAILED)
    outputs = carried_out(deployment, proposed)
    if as_json:
        print_json({"stack": stack, "changes": len(proposed.changes), "outputs": outputs})
    elif proposed.changes:
        say(f"The stack {stack} is deployed (Coffre {__version__}).", style="green")
    else:
        say(f"The stack {stack} is up to date (Coffre {__version__}): nothing was changed.")


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
