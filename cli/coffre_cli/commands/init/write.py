"""Making what was planned: keys, secrets, and two files to read. Each step finds what an interrupted run has made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from coffre.model.configuration_mistakes import read_new_document
from coffre_cli.commands.init.existing_resources import Before, Place, Secrets
from coffre_cli.commands.init.plan import Answers, Plan, compact
from coffre_cli.commands.init.questions import InitError
from coffre_cli.commands.keys.new import write_file
from coffre_cli.commands.keys.secrets import create
from coffre_cli.screen import remark

DOCUMENT: Final = "ConfigurationDocument"
_HEAD = """\
# The parameters of the stack {stack}, written by `coffre init`; it holds no secrets.
# To deploy by hand: coffre deploy --stack {stack} --parameters {file}
"""


def make_keys(place: Place, before: Before, answers: Answers, secrets: Secrets) -> tuple[str, ...]:
    """Return the public keys to encrypt to; private keys that do not exist yet are made.

    Raises
    ------
    InitError
        The file for the second key has something else in it.
    EncryptionError
        A key cannot be stored.
    """
    from coffre.vault.codec import new_identity, public_key

    recipients = tuple(before.document.get("recipients", ())) or before.recipients
    if answers.offline is not None:
        offline = _offline_key(answers.offline)
        recipients = tuple(one for one in recipients if one != offline) or before.recipients
    if not recipients:
        identity = new_identity()
        create(secrets.client, place.identity_secret, identity, "your AWS account")
        remark(f"  The private key is in the secret {place.identity_secret}.")
        recipients = (public_key(identity),)
    return (*recipients, offline) if answers.offline is not None else recipients


def _offline_key(file: Path) -> str:
    """Return the public key of a private key in a file, which is made if it does not exist."""
    from coffre.model.errors import EncryptionError
    from coffre.vault.codec import new_identity, parse_identities, public_key

    if not file.exists():
        identity = new_identity()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, identity)
        remark(f"  The second private key is in {file}.")
        return public_key(identity)
    try:
        [identity] = parse_identities(file.read_text(encoding="utf-8"))
        return public_key(identity)
    except (OSError, UnicodeError, ValueError, EncryptionError) as error:
        raise InitError(
            f"{file} exists, and is no private key of an earlier run.", hint="Choose another file: --offline FILE"
        ) from error


def validated(document: Mapping[str, Any], where: str) -> None:
    """Refuse a document that the functions would refuse; raises `ConfigurationError`."""
    read_new_document(compact(document), where=where)


def write_files(place: Place, before: Before, plan: Plan, document: Mapping[str, Any]) -> dict[str, str]:
    """Write the configuration and the parameters as files, and return the parameters.

    The template's document is only the first one: that of a stack which exists stays as it is.
    """
    seed = before.parameters.get(DOCUMENT) if before.is_deployed else compact(document)
    parameters = {**plan.parameters, **({DOCUMENT: seed} if seed else {})}
    place.directory.mkdir(parents=True, exist_ok=True)
    _replace(place.configuration, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    head = _HEAD.format(stack=place.stack, file=place.parameters)
    _replace(place.parameters, head + yaml.safe_dump(parameters, allow_unicode=True, width=10**6))
    return parameters


def _replace(file: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, file)  # noqa: PTH105 (atomic, and over an existing file)
