"""`coffre api-keys list`: the keys, what each may do, and when it was used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from coffre_cli.examples import examples
from coffre_cli.screen import age, ahead, print_json, print_table, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre.model.api_key import ApiKey

EXAMPLES = examples(
    "coffre api-keys list", "coffre api-keys list --json | jq '.keys[] | select(.last_used_at == null)'"
)


def list_keys(stack: StackOption = None, as_json: JsonOption = False) -> None:
    """List the keys of the API: what each may do, until when, and when it was used last.

    Keys that have expired or were revoked stay in the list for some months. No command shows a key again.
    """
    refuse_vault("api-keys")
    from coffre.runtime.api_keys import shown

    now = datetime.now(UTC)
    keys = sorted(find_stack(stack).catalog.api_keys.all(), key=lambda key: key.made_at, reverse=True)
    if as_json:
        print_json({"keys": [{**shown(key), "state": key.state(now)} for key in keys]})
        return
    if not keys:
        say("The API has no keys.")
        return
    print_table(
        ["ID", "LABEL", "MAY", "STATE", "USED", "MADE BY"],
        (
            [
                key.id,
                key.label,
                ", ".join(key.scopes),
                _state(key, now),
                f"{age(key.last_used_at, now)}" if key.last_used_at else "never",
                key.made_by.rpartition("/")[2],
            ]
            for key in keys
        ),
    )


def _state(key: ApiKey, now: datetime) -> Text:
    state = key.state(now)
    if state != "valid":
        return Text(state, style="red")
    overlap = ""
    if key.previous_until is not None and now < key.previous_until:
        overlap = f"; the secret before {ahead(key.previous_until, now)}"
    return Text(f"ends {ahead(key.expires_at, now)}{overlap}")
