"""`coffre config show`: the document in effect, or an older version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.names import visible_json
from coffre_cli.commands.config.documents import NamedDocument, in_effect, remark_template, stored_document
from coffre_cli.examples import examples
from coffre_cli.screen import console, print_json, remark
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre.model.configuration_version import ConfigurationVersion, CurrentConfiguration

EXAMPLES = examples(
    "coffre config show",
    "coffre config show > configuration.json",
    "coffre config show --defaults",
    "coffre config show 3",
    "coffre config show template",
    "coffre config show --json | jq .version",
)


def show(
    version: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="A version's number, template, or vault. Default: in effect."),
    ] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Fill in every field that the document leaves out.")
    ] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a configuration document on stdout as it was written; who wrote it and when, on stderr."""
    refuse_vault("config")
    deployed = find_stack(stack)
    current = deployed.current_configuration
    found = in_effect(current) if version is None else stored_document(deployed, version)
    text = _with_defaults(found) if defaults else found.text
    if as_json:
        print_json(_facts(found, current) | {"document": json.loads(text)})
        return
    remark(_headline(found, current))
    remark_template(current)
    console.file.write(visible_json(text).rstrip("\n") + "\n")


def _with_defaults(found: NamedDocument) -> str:
    from coffre.model.configuration import parse_configuration

    configuration = parse_configuration(found.text, where=found.label)
    return json.dumps(configuration.model_dump(mode="json"), indent=2, ensure_ascii=False)


def _headline(found: NamedDocument, current: CurrentConfiguration) -> str:
    effective = found.text == current.document and found.version == current.version
    label = f"{found.label[0].upper()}{found.label[1:]}"
    if found.version is None:
        return f"{label}: {'in effect; no version was written yet' if effective else 'not in effect'}."
    return f"{label}{', in effect' if effective else ''}: {written(found.version)}"


def written(version: ConfigurationVersion) -> str:
    """Return when and by whom a version was written, and why."""
    proven = "" if version.verified else " (as the request claims)"
    note = f" Note: {version.note}" if version.note else ""
    return f"written {version.at:%Y-%m-%d %H:%M} UTC by {version.actor}{proven}.{note}"


def _facts(found: NamedDocument, current: CurrentConfiguration) -> dict[str, Any]:
    known = found.version.model_dump(mode="json", exclude={"document", "number"}) if found.version else {}
    return {
        "version": found.version.number if found.version else 0,
        **known,
        "in_effect": found.version == current.version and found.text == current.document,
        "template_has_changed": current.template_has_changed,
    }
