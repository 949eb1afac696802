"""What a person has chosen to restore: fields of the wizard, the API's request, and the command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from pydantic import ValidationError

from coffre.model.backup import Backup
from coffre_console.api.restores import RestoreWanted
from coffre_console.problems import of_wrong_fields

FIELDS: Final = (
    "what",
    "tables",
    "with_dependencies",
    "column",
    "start",
    "end",
    "where",
    "destination",
    "bucket",
    "prefix",
    "keys",
    "mode",
    "source",
)
WHATS: Final = ("gone", "rows", "replace", "whole")
"""For a database: tables that are gone (and compare others), some rows, tables as they were, all of it."""
MODES: Final = ("missing", "overwrite", "mirror")
LONGEST: Final = 1_800
"""Characters of all choices together, as an address has them: it carries them through a sign-in."""


def wanted_of(backup: Backup, sent: Mapping[str, str], **further: Any) -> RestoreWanted:
    """Return the request for the fields of the wizard; raises ProblemError, naming what is wrong."""
    found = _of_objects(sent) if backup.kind.has_objects else _of_tables(sent)
    if len(urlencode(sent)) > LONGEST:
        where = "keys" if backup.kind.has_objects else "tables"
        raise of_wrong_fields([{"loc": (where,), "type": "too_long", "msg": "too much for one page: use the command"}])
    try:
        return RestoreWanted.model_validate({**found, **further, "source": sent["source"] or None})
    except ValidationError as error:
        raise of_wrong_fields(error.errors()) from None


def _of_tables(sent: Mapping[str, str]) -> dict[str, Any]:
    what, tables = sent["what"], lines_of(sent["tables"])
    if what == "whole":
        return {"destination": sent["destination"]} if sent["destination"] else {"replace": True}
    if what not in WHATS or not tables:
        where = "what" if what not in WHATS else "tables"
        raise of_wrong_fields([{"loc": (where,), "type": "missing", "msg": "this has to be chosen"}])
    if what == "rows":
        rows = {name: sent[name] for name in ("column", "start", "end", "where") if sent[name]}
        return {"tables": tables, "rows": rows, "apply": True}
    return {"tables": tables, "replace": what == "replace", "with_dependencies": bool(sent["with_dependencies"])}


def _of_objects(sent: Mapping[str, str]) -> dict[str, Any]:
    storage = {"bucket": sent["bucket"] or None, "prefix": sent["prefix"], "keys": lines_of(sent["keys"])}
    return {"storage": {**storage, "mode": sent["mode"] or "missing"}}


def lines_of(text: str) -> Sequence[str]:
    """Return the lines of a text field that are not empty."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def command_of(backup: Backup, sent: Mapping[str, str]) -> str:
    """Return the command for the fields of the wizard, as far as they are chosen."""
    copy = ("--from-copy", sent["source"])
    if backup.kind.has_objects:
        options = [("--bucket", sent["bucket"]), ("--prefix", sent["prefix"])]
        options += [("--key", key) for key in lines_of(sent["keys"])]
        options += [("--mode", sent["mode"] if sent["mode"] != "missing" else ""), copy]
        return _line(["restore", "objects", backup.id], options)
    what, tables = sent["what"], lines_of(sent["tables"]) or ["TABLE"]
    if what == "whole":
        flags = [] if sent["destination"] else ["--replace"]
        return _line(["restore", "database", backup.id], [("--to", sent["destination"]), copy], *flags)
    if what == "rows":
        period = [("--where-column", sent["column"]), ("--from", sent["start"]), ("--until", sent["end"])]
        chosen = [*period, ("--where", sent["where"]), copy]
        return _line(["restore", "rows", backup.id, *tables], chosen, "--apply")
    flags = ["--with-dependencies"] if sent["with_dependencies"] else []
    flags += ["--replace"] if what == "replace" else []
    return _line(["restore", "tables", backup.id, *tables], [copy], *flags)


def _line(words: Sequence[str], options: Sequence[tuple[str, str]], *flags: str) -> str:
    said = [word for name, value in options if value for word in (name, value)]
    return shlex.join(["coffre", *words, *said, *flags])
