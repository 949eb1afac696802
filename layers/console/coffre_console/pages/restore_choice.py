"""What a person has chosen to restore: fields of the wizard, the API's request, and the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from coffre.model.backup import Backup
from coffre_console.api.restores import RestoreWanted
from coffre_console.pages.asked import time_of, wrong
from coffre_console.pages.show import command
from coffre_console.problems import checked, of_wrong_fields

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
    "at",
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
    return checked(RestoreWanted, {**found, **further, "source": sent["source"] or None})


def _of_tables(sent: Mapping[str, str]) -> dict[str, Any]:
    at = {"at": {"time": time_of("at", sent["at"])}} if sent["at"] else {}
    return {**_of_database(sent), **at}


def _of_database(sent: Mapping[str, str]) -> dict[str, Any]:
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
    if sent["at"]:
        raise wrong("at", "buckets have no journal")
    storage = {"bucket": sent["bucket"] or None, "prefix": sent["prefix"], "keys": lines_of(sent["keys"])}
    return {"storage": {**storage, "mode": sent["mode"] or "missing"}}


def lines_of(text: str) -> Sequence[str]:
    """Return the lines of a text field that are not empty."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def command_of(backup: Backup, sent: Mapping[str, str]) -> str:
    """Return the command for the fields of the wizard, as far as they are chosen."""
    copy = sent["source"]
    if backup.kind.has_objects:
        words = [word for key in lines_of(sent["keys"]) for word in ("--key", key)]
        mode = "" if sent["mode"] == "missing" else sent["mode"]
        places = {"bucket": sent["bucket"], "prefix": sent["prefix"]}
        return command("restore", "objects", backup.id, *words, **places, mode=mode, from_copy=copy)
    at, what, tables = sent["at"], sent["what"], lines_of(sent["tables"]) or ["TABLE"]
    if what == "whole":
        to = sent["destination"]
        return command("restore", "database", backup.id, "" if to else "--replace", to=to, at=at, from_copy=copy)
    if what == "rows":
        rows = {"where_column": sent["column"], "from": sent["start"], "until": sent["end"], "where": sent["where"]}
        return command("restore", "rows", backup.id, *tables, "--apply", **rows, at=at, from_copy=copy)
    flags = ["--with-dependencies" if sent["with_dependencies"] else "", "--replace" if what == "replace" else ""]
    return command("restore", "tables", backup.id, *tables, *flags, at=at, from_copy=copy)
