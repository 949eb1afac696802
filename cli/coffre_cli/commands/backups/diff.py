"""`coffre diff`: what changed from one backup to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.errors import CoffreError
from coffre.model.kinds import TargetKind
from coffre.model.names import visible
from coffre.model.words import size
from coffre_cli.audited import recorded_reading
from coffre_cli.backup_argument import BackupId
from coffre_cli.commands.backups.ls_cat import BucketOption, open_backup, print_json_lines
from coffre_cli.examples import examples
from coffre_cli.private_key import IdentityOption, decoder_of
from coffre_cli.reading import FromOption, find_reading_place
from coffre_cli.screen import console, remark, show_error
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.operations.browse.diff import Change, Difference

EXAMPLES = examples(
    "coffre diff 01K9X... 01K9Y...",
    "coffre diff 01K9X... latest --target uploads --prefix 2026/",
    "coffre diff 01K9X... 01K9Y... --json | jq -r '.[].name'",
)
_SIGNS = {"added": "+", "changed": "~", "removed": "-"}  # by `Change`
# As diff(1): 0 means the same, 1 different, 2 an error.
_DIFFERENT, _TROUBLE = 1, 2


def diff(
    first: BackupId,
    second: Annotated[str, typer.Argument(metavar="ID2", help="Another backup, usually a later one.")],
    bucket: BucketOption = None,
    prefix: Annotated[str, typer.Option(help="Only objects whose keys start with this.")] = "",
    target: Annotated[str | None, typer.Option(help="With `latest`: of which target.")] = None,
    source: FromOption = None,
    identity: IdentityOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which objects or tables were added (+), changed (~) or removed (-) from one backup to another.

    Objects are compared by content and attributes, tables by what `COPY` read: rows that only moved count as changed.
    Of settings only names are shown. They are compared by their versions; with --identity by their values, and names of
    variables in files (`.env`) are shown too. Without it each file that was handed in again counts as changed.
    Exit status as of diff(1): 0 the same, 1 different, 2 an error.
    """
    from coffre.model.storage import ObjectChoice
    from coffre.operations.browse.diff import Change, differences

    counts: Counter[Change] = Counter()
    try:
        deployed = find_reading_place(stack, source)
        backup, before = open_backup(deployed, first, target, source)
        after = open_backup(deployed, second, target, source)[1]
        choice = ObjectChoice(bucket=bucket, prefix=prefix)
        decoder = decoder_of(deployed, backup, identity) if identity and before.kind is TargetKind.SETTINGS else None
        found = _counted(differences(deployed.vault, before, after, choice, decoder), counts)
        recorded = recorded_reading(deployed, backup, "backup.read", f"compared with {after.backup_id}")
        with recorded if decoder is not None else nullcontext():
            _print(found, as_json=as_json)
    except CoffreError as error:
        show_error(error)
        raise typer.Exit(_TROUBLE) from None
    if not as_json:
        remark(", ".join(f"{counts[change]:,} {change}" for change in Change) if counts else "No differences.")
    if counts:
        raise typer.Exit(_DIFFERENT)


def _print(found: Iterator[Difference], *, as_json: bool) -> None:
    if as_json:
        print_json_lines(_json(one) for one in found)
        return
    for one in found:
        console.file.write(_line(one) + "\n")


def _counted(found: Iterator[Difference], counts: Counter[Change]) -> Iterator[Difference]:
    for one in found:
        counts[one.change] += 1
        yield one


def _line(one: Difference) -> str:
    facts = [_sizes(one.size_before, one.size_after)] if (one.size_before, one.size_after) != (None, None) else []
    if one.rows_before is not None or one.rows_after is not None:
        facts.append(_rows(one.rows_before, one.rows_after))
    other = [what for what in one.what if what != "content"]
    about = ", ".join([*facts, *map(visible, other)])
    return f"{_SIGNS[one.change]} {visible(one.name)}" + (f"  ({about})" if about else "")


def _sizes(before: int | None, after: int | None) -> str:
    if before is None or after is None or before == after:
        return size(after if before is None else before)
    return f"{size(before)} -> {size(after)}"


def _rows(before: int | None, after: int | None) -> str:
    if before is None or after is None or before == after:
        return f"{(after if before is None else before) or 0:,} rows"
    return f"{before:,} -> {after:,} rows"


def _json(one: Difference) -> dict[str, Any]:
    return {
        name: value
        for name, value in {
            "name": one.name,
            "change": one.change.value,
            "what": list(one.what) or None,
            "size_before": one.size_before,
            "size_after": one.size_after,
            "rows_before": one.rows_before,
            "rows_after": one.rows_after,
        }.items()
        if value is not None
    }
