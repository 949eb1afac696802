"""How restore points are listed and shown."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from coffre.model.words import counted
from coffre_cli.place import Place
from coffre_cli.screen import age, print_json, print_table, remark, say, say_command
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.points import PointRecord

_NAMED: Final = 20
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def list_points(place: Place, name: str | None, limit: int, *, as_json: bool) -> None:
    """List restore points, newest first; `limit` 0: all."""
    found = list(islice(place.catalog.points.all(name), limit or None))
    if as_json:
        print_json([point_json(place, point) for point in found])
        return
    if isinstance(place, StandaloneVault):
        for why in place.catalog.points.problems.values():
            remark(why)
    if not found:
        say(f"No restore points{f' of {name}' if name else ''} yet. docs/points.md shows how one is configured.")
        return
    print_table(
        ["ID", "POINT", "STATE", "TAKEN", "REFERENCES", "DANGLING", "ORPHANS"],
        (
            [
                point.id,
                point.name,
                state_of(place, point)[0],
                age(point.taken_at),
                _number(point.references),
                _number(point.dangling if point.references is not None else None),
                _number(point.orphans if point.references is not None else None),
            ]
            for point in found
        ),
        right=["REFERENCES", "DANGLING", "ORPHANS"],
    )


def find_shown(place: Place, text: str) -> PointRecord | None:
    """Return the restore point whose whole id this is; None: it is something else's."""
    return place.catalog.points.find(text.upper()) if _ULID.fullmatch(text.upper()) else None


def state_of(place: Place, point: PointRecord) -> tuple[str, list[str]]:
    """Return `whole`, `not whole`, or `damaged` (which can be restored by its id), and why."""
    from coffre.operations.points.find import damaged_parts, missing_parts

    missing = missing_parts(place.catalog, point)
    if point.sealed_at is None and not missing:
        missing = ["it is not sealed yet"]
    if missing:
        return "not whole", missing
    damaged = damaged_parts(place.catalog, point)
    return ("damaged" if damaged else "whole"), damaged


def point_json(place: Place, point: PointRecord) -> dict[str, Any]:
    """Return a point for scripts."""
    state, missing = state_of(place, point)
    record = point.model_dump(mode="json", exclude={"lists"})
    return {**record, "state": state, "missing": missing, "dangling": point.dangling, "orphans": point.orphans}


def show_point(place: Place, point: PointRecord, *, as_json: bool) -> None:
    """Show one restore point, with its parts and the references that dangle."""
    dangling = list(dangling_of(place, point)) if point.dangling else []
    if as_json:
        named = [{"name": name, "why": why} for name, why in dangling]
        print_json({**point_json(place, point), "dangling_references": named})
        return
    state, missing = state_of(place, point)
    say(f"Restore point {point.id} of {point.name}: {state}", style="" if state == "whole" else "yellow")
    for why in missing:
        say(f"  because   {why}")
    say(f"  taken     {point.taken_at:%Y-%m-%d %H:%M:%S} UTC ({age(point.taken_at)})")
    for part in point.parts:
        say(f"  part      {part.backup_id} of {part.target}")
    say(f"  rows      {references_line(point)}")
    show_dangling(dangling)
    if state != "not whole":
        say("To restore it:")
        say_command(f"coffre restore point {point.id} --to postgresql://USER@HOST/NEW --to-bucket BUCKET")


def references_line(point: PointRecord) -> str:
    """Return what is known of references, in words."""
    if point.references is None:
        return "which objects they refer to is not known (objects is not configured)"
    dangling = f"{point.dangling:,} dangling" if point.dangling else "none dangling"
    return f"{counted(point.references, 'reference')}, {dangling}; {counted(point.orphans, 'object')} without a row"


def dangling_of(place: Place, point: PointRecord) -> list[tuple[str, str]]:
    """Return the references of a point that dangle, by the names of their objects, and why."""
    from coffre.operations.points.find import dangling_references, find_backup

    backups = [find_backup(place.catalog, part.backup_id) for part in point.buckets if part.counts]
    return [one for backup in backups if backup is not None for one in dangling_references(place.vault, backup)]


def show_dangling(dangling: list[tuple[str, str]]) -> None:
    """Name the references that dangle."""
    for name, why in dangling[:_NAMED]:
        say(f"  dangling  {name!a}: {why}", style="yellow")
    if len(dangling) > _NAMED:
        say(f"  ... and {len(dangling) - _NAMED:,} more: --json names all", style="yellow")


def _number(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
