"""`coffre api-keys create`, `rotate` and `revoke`: the secret is made here, and only its hash leaves this process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import typer

from coffre.model.api_key import (
    LONGEST_LABEL,
    LONGEST_LIFE,
    MOST_SCOPES,
    ApiScope,
    checked_scopes,
    hash_of,
    new_key,
    read_key,
    renewed,
)
from coffre.model.errors import ApiKeyError
from coffre.model.times import parse_span
from coffre_cli.examples import examples
from coffre_cli.screen import print_json, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

CREATE_EXAMPLES = examples(
    "coffre api-keys create 'nightly cron' --scope backup:run:shop --expires 90d",
    "coffre api-keys create grafana --scope metrics:read --scope backup:read --expires 365d",
    "coffre api-keys create deploys --scope backup:run --json | jq -r .secret",
)
ROTATE_EXAMPLES = examples(
    "coffre api-keys rotate 0123456789abcdef", "coffre api-keys rotate 0123456789abcdef --expires 30d"
)
REVOKE_EXAMPLES = examples("coffre api-keys revoke 0123456789abcdef")

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id: `coffre api-keys list` has it.")]
ExpiresOption = Annotated[
    str, typer.Option("--expires", metavar="SPAN", help="How long it works, up to 366 days: 12h, 90d, 4w.")
]


def create(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What it is for, in a few words: the list shows it.")],
    scopes: Annotated[
        list[str],
        typer.Option(
            "--scope",
            help=f"What it may do: {', '.join(ApiScope)}; with a target (backup:run:shop) for that alone. Repeatable.",
        ),
    ],
    expires: ExpiresOption = "90d",
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key for a machine, and show it once.

    No key restores, deletes or makes keys. The key is kept nowhere: the stack has its SHA-256.
    """
    refuse_vault("api-keys")
    if not 0 < len(label) <= LONGEST_LABEL or not label.isprintable():
        raise typer.BadParameter(f"LABEL needs 1 to {LONGEST_LABEL} printable characters in one line")
    try:
        chosen = checked_scopes(scopes)
    except ValueError as error:
        raise typer.BadParameter(f"--scope: {error}") from error
    if len(chosen) > MOST_SCOPES:
        raise typer.BadParameter(f"--scope: a key has at most {MOST_SCOPES} scopes")
    text, key_id = new_key()
    change = {"act": "create", "label": label, "scopes": list(chosen), "expires_in": _span(expires)}
    key = _change(stack, key_id, {**change, "sha256": hash_of(text)})
    _show(text, key, as_json=as_json)
    if not as_json:
        say(f"It may {', '.join(chosen)}, until {key['expires_at'][:10]}. A machine uses it so:")
        say("  curl -X POST https://CONSOLE/api/v1/trigger/backup-database \\")
        say('    -H "Authorization: Bearer $BACKUP_SECRET_KEY"')


def rotate(
    key_id: KeyId, expires: ExpiresOption = "90d", stack: StackOption = None, as_json: JsonOption = False
) -> None:
    """Give a key another secret, and show it once. The secret before works for 24 hours more."""
    refuse_vault("api-keys")
    wanted = _known_form(key_id)
    text = renewed(wanted)
    key = _change(stack, wanted, {"act": "rotate", "sha256": hash_of(text), "expires_in": _span(expires)})
    _show(text, key, as_json=as_json)
    if not as_json:
        until = str(key["previous_until"])[:16].replace("T", " ")
        say(f"Give it to the machine by {until} UTC: the secret before ends then.")


def revoke(key_id: KeyId, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """End a key immediately, and the secret of before its last rotation too. This cannot be undone."""
    refuse_vault("api-keys")
    key = _change(stack, _known_form(key_id), {"act": "revoke"})
    if as_json:
        print_json(key)
    else:
        say(f"Revoked: {key['label']} ({key['id']}) opens nothing any more.")


def _change(stack: str | None, key_id: str, change: Mapping[str, Any]) -> dict[str, Any]:
    answer = find_stack(stack).ask("rotate", {"api_key": {"id": key_id, **change}})
    if (failure := answer.get("failure")) is not None:
        raise ApiKeyError(failure["message"], code=failure["code"], hint=failure.get("hint"))
    key: dict[str, Any] = answer["key"]
    return key


def _show(text: str, key: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({**key, "secret": text})
        return
    say("The key (SECRET, shown this once: put it where the machine keeps its secrets):")
    say(f"  {text}", style="bold red")
    say("")


def _span(text: str) -> str:
    try:
        span = parse_span(text)
    except ValueError as error:
        raise typer.BadParameter(f"--expires {error}") from error
    if not timedelta(0) < span <= LONGEST_LIFE:
        raise typer.BadParameter(f"--expires {text}: a key works for at most {LONGEST_LIFE.days} days")
    return text


def _known_form(key_id: str) -> str:
    """Return the id in what a person typed: never a whole key, which would be in the history of the shell now."""
    if read_key(key_id) is not None:
        raise typer.BadParameter("ID is a whole key, which others can now read: revoke it by its id alone")
    if len(key_id) != 16 or not set(key_id) <= set("0123456789abcdef"):
        raise typer.BadParameter("ID has 16 digits and letters a to f: coffre api-keys list shows it")
    return key_id
