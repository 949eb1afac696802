"""`coffre config diff` and `history`: what changed, when, and by whom."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import ConfigurationError
from coffre_cli.commands.config.documents import (
    TEMPLATE_WORD,
    NamedDocument,
    any_document,
    in_effect,
    laid_out,
    remark_template,
    stored_document,
)
from coffre_cli.commands.config.show import written
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.screen import print_json, remark, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre.policy.configuration_change import Change

DIFF_EXAMPLES = examples(
    "coffre config diff",
    "coffre config diff 3",
    "coffre config diff 3 5",
    "coffre config diff template",
    "coffre config diff configuration.json",
)
HISTORY_EXAMPLES = examples("coffre config history", "coffre config history --json | jq '.[].changes'")
_STYLES = {"+": "green", "-": "red", "@": "bold"}


def diff(
    first: Annotated[
        str | None,
        typer.Argument(
            metavar="[A]",
            help="A version's number, template, vault, or a file. Default: the version before the one in effect.",
        ),
    ] = None,
    second: Annotated[
        str | None, typer.Argument(metavar="[B]", help="What A is compared with. Default: what is in effect.")
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show in words and lines what is different between two documents. A ! marks what may weaken the protection.

    With one argument: from what is in effect to a file or the template's document, and from an older version to what
    is in effect.
    """
    refuse_vault("config")
    deployed = find_stack(stack)
    remark_template(deployed.current_configuration)
    before, after = _pair(deployed, first, second)
    if as_json:
        found = difference(before, after)
        fields = [{"path": one.path, "words": one.words, "weakens": one.weakens} for one in found]
        print_json({"from": before.label, "to": after.label, "changes": fields})
        return
    show_difference(before, after)


def history(stack: StackOption = None, as_json: JsonOption = False) -> None:
    """List the versions, newest first: who wrote each, when, why, and what it changed."""
    refuse_vault("config")
    deployed = find_stack(stack)
    current = deployed.current_configuration
    versions = list(deployed.catalog.configurations.all())
    if as_json:
        print_json([one.model_dump(mode="json", exclude={"document"}) for one in versions])
        return
    remark_template(current)
    if not versions:
        say(f"No version was written yet: {in_effect(current).label} is in effect.")
        return
    for one in versions:
        effective = ", in effect" if one.number == current.number else ""
        say(f"Version {one.number}{effective}: {written(one)}", style="bold" if effective else "")
        for words in one.changes or ("The layout alone is different.",):
            say(f"  {words}")


def difference(before: NamedDocument, after: NamedDocument) -> list[Change]:
    """Return what is different; raises `CONFIGURATION_INVALID` for a document that is none."""
    from coffre.model.configuration import parse_configuration
    from coffre.policy.configuration_change import changes

    first, second = (parse_configuration(one.text, where=one.label) for one in (before, after))
    return changes(first, second)


def show_difference(before: NamedDocument, after: NamedDocument) -> None:
    """Print what is different in words, then in lines."""
    if before.text == after.text:
        say(f"No difference between {before.label} and {after.label}.")
        return
    try:
        found = difference(before, after)
        say(f"From {before.label} to {after.label}:", style="bold")
        for one in found:
            say(f"{'!' if one.weakens else ' '} {one.words}")
        if not found:
            say("  The layout alone is different: all fields have the same values.")
    except ConfigurationError as error:
        remark(f"{error.message} The lines are compared as they are.")
    for line in _lines(before, after):
        say(line, style=_STYLES.get(line[:1], ""))


def _pair(deployed: DeployedStack, first: str | None, second: str | None) -> tuple[NamedDocument, NamedDocument]:
    current = in_effect(deployed.current_configuration)
    if first is not None and second is not None:
        return any_document(deployed, first), any_document(deployed, second)
    if first is not None:
        named = any_document(deployed, first)
        is_older = named.version is not None
        return (named, current) if is_older else (current, named)
    if current.version is None:
        raise ConfigurationError(
            "No version was written yet, so that nothing can be compared.",
            code="CONFIGURATION_UNKNOWN",
            hint="To compare with a file: coffre config diff FILE",
        )
    number = current.version.number - 1
    return stored_document(deployed, str(number) if number else TEMPLATE_WORD), current


def _lines(before: NamedDocument, after: NamedDocument) -> Iterator[str]:
    first, second = (laid_out(one.text).splitlines() for one in (before, after))
    return difflib.unified_diff(first, second, before.label, after.label, lineterm="")
