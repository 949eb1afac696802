"""`coffre ci github` and `coffre ci gitlab`: print the pipeline, and the entry of `console.trust` that it needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic import TypeAdapter, ValidationError

from coffre_cli.commands.ci import workflows
from coffre_cli.commands.stack.console import address_of
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.screen import print_json, remark
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre.model.console import Forge

GITHUB_EXAMPLES = examples(
    "coffre ci github --target shop > .github/workflows/backup.yml",
    "coffre ci github --target shop --repository acme/shop --repository-id 123456789 --owner-id 1234567 "
    "--environment production",
)
GITLAB_EXAMPLES = examples(
    "coffre ci gitlab --target shop",
    "coffre ci gitlab --target shop --repository acme/shop --repository-id 4711 --owner-id 42 --ref refs/heads/main",
)

app = typer.Typer(
    help="Print a pipeline that starts backups, without a stored key.",
    epilog=examples("coffre ci github --target shop", "coffre ci gitlab --target shop"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def ci() -> None:
    """Print a pipeline that starts backups with the token that GitHub or GitLab gives each job: no key is stored.

    The guide is docs/ci.md.
    """


Target = Annotated[
    str | None, typer.Option("--target", metavar="NAME", help="What is backed up. Default: the only target.")
]
Repository = Annotated[
    str | None, typer.Option("--repository", metavar="OWNER/NAME", help="The repository's name, for people.")
]
RepositoryId = Annotated[
    str | None, typer.Option("--repository-id", metavar="N", help="The repository's number (GitLab: the project's).")
]
OwnerId = Annotated[
    str | None, typer.Option("--owner-id", metavar="N", help="Its owner's number (GitLab: the namespace's).")
]
Environment = Annotated[
    str | None, typer.Option("--environment", metavar="NAME", help="Trust jobs of this deployment environment alone.")
]
Ref = Annotated[
    str | None,
    typer.Option("--ref", help="Trust jobs of this branch or tag alone: refs/heads/main, the default."),
]
Url = Annotated[
    str | None, typer.Option("--url", help="The console's address. Default: that of the configuration or the stack.")
]


def _pipeline(forge: Forge, write: Callable[[str, str, str, str | None], str], words: str) -> Callable[..., None]:
    """Return the command of one forge: all have the same options. `words` are its help."""

    def pipeline(
        target: Target = None,
        repository: Repository = None,
        repository_id: RepositoryId = None,
        owner_id: OwnerId = None,
        environment: Environment = None,
        ref: Ref = None,
        url: Url = None,
        stack: StackOption = None,
        as_json: JsonOption = False,
    ) -> None:
        about = (repository, repository_id, owner_id, environment, ref)
        _print(forge, write, find_target(stack, target, url), about, as_json=as_json)

    pipeline.__doc__ = words
    return pipeline


_GITHUB: Final = """Print a workflow for GitHub Actions, and on stderr the entry that lets it in.

The numbers are those of `gh api repos/OWNER/NAME --jq '.id, .owner.id'`: a name can pass to another owner.
"""
_GITLAB: Final = """Print a job for GitLab CI, and on stderr the entry that lets it in.

The numbers are `id` and `namespace.id` of `glab api projects/:id`: a name can pass to another owner.
"""
app.command("github", short_help="Print a workflow for GitHub Actions.", epilog=GITHUB_EXAMPLES)(
    _pipeline("github", workflows.github, _GITHUB)
)
app.command("gitlab", short_help="Print a job for GitLab CI.", epilog=GITLAB_EXAMPLES)(
    _pipeline("gitlab", workflows.gitlab, _GITLAB)
)


def find_target(stack: str | None, target: str | None, url: str | None) -> tuple[str, str, str]:
    """Return a target's name, the last of the path that starts its backups, and the console's address."""
    refuse_vault("ci")
    deployed = find_stack(stack)
    name = deployed.only_target(target)
    trigger = "backup-database" if deployed.word_of(name) == "database" else "backup-buckets"
    return name, trigger, _checked(url) if url is not None else _address_of(deployed)


def _address_of(deployed: DeployedStack) -> str:
    address = address_of(deployed)
    if address is None:
        raise typer.BadParameter("--url is needed: the stack's console is off, so it has no address")
    return address


def _checked(url: str) -> str:
    from coffre.model.console import Address

    try:
        return TypeAdapter[str](Address).validate_python(url).rstrip("/")
    except ValidationError as error:
        raise typer.BadParameter("--url should be an https:// address without query and user name") from error


def _print(
    forge: Forge,
    write: Callable[[str, str, str, str | None], str],
    found: tuple[str, str, str],
    about: tuple[str | None, ...],
    *,
    as_json: bool,
) -> None:
    name, trigger, address = found
    trust = _entry(forge, name, *about)
    environment = about[3]
    text = write(address, trigger, name, environment)
    if as_json:
        print_json({"workflow": text, "trust": trust})
        return
    print(text, end="")
    remark("The console lets it in with this entry of console.trust (coffre config edit):")
    for line in json.dumps(trust, indent=2).splitlines():
        remark(line)


def _entry(
    forge: Forge,
    target: str,
    repository: str | None,
    repository_id: str | None,
    owner_id: str | None,
    environment: str | None,
    ref: str | None,
) -> dict[str, Any]:
    """Return the entry; numbers that were not given are words in it, which the configuration refuses."""
    from coffre.model.console import Trust
    from coffre.model.document import describe_validation

    refs = [ref] if ref else [] if environment else ["refs/heads/main"]
    entry: dict[str, Any] = {
        "name": f"{forge}-{target}",
        "forge": forge,
        "repository": repository or "OWNER/NAME",
        "repository_id": repository_id or "NUMBER",
        "owner_id": owner_id or "NUMBER",
        **({"refs": refs} if refs else {}),
        **({"environments": [environment]} if environment else {}),
        "targets": [target],
    }
    given = {**entry, "repository_id": repository_id or "1", "owner_id": owner_id or "1"}
    try:
        Trust.model_validate(given)
    except ValidationError as error:
        options = {"repository_id": "--repository-id", "owner_id": "--owner-id", "refs": "--ref"}
        first = describe_validation(error)[0]
        field, _, message = first.partition(": ")
        option = options.get(field.partition("[")[0], f"--{field.partition('[')[0].removesuffix('s')}")
        raise typer.BadParameter(f"{option}: {message}") from error
    return entry
