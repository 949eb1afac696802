"""What is recovered: the source, the restore point, and which of the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ulid import ULID

from coffre import __version__
from coffre.model.errors import BackupStateError
from coffre.model.recovery import Recovery
from coffre.operations.points.find import whole_points
from coffre.policy.recovery import CopyLook, choose_copy
from coffre_cli.backup_argument import until_of
from coffre_cli.commands.points.show import references_line
from coffre_cli.commands.recover.destinations import parse_pairs
from coffre_cli.commands.recover.find_copies import Sought, look_safely
from coffre_cli.commands.recover.kit import Start, find_start

if TYPE_CHECKING:
    from coffre.model.points import PointRecord
    from coffre_cli.commands.keys.kit_facts import ContactFacts
    from coffre_cli.standalone import StandaloneVault


_POINTS_SHOWN = 5


@dataclass(frozen=True)
class Source:
    """The options that lead to the copies and the keys."""

    kit: Path | None
    addresses: tuple[str, ...]
    endpoint_url: str | None
    identities: tuple[str, ...]
    passphrase: str | None

    def start(self) -> Start:
        """Return what they lead to; raises what `find_start` raises."""
        return find_start(self.kit, self.addresses, self.endpoint_url, self.identities, self.passphrase)


@dataclass(frozen=True)
class Choice:
    """The options that say what is restored, and where to. `until`: nothing that was taken later is chosen.

    `safety`: where the contents of destinations in use are backed up before they are replaced.
    `point`: the targets of this restore point are restored as of it.
    """

    to: dict[str, str]
    stores: dict[str, str]
    targets: tuple[str, ...]
    until: datetime | None
    limit_minutes: float | None
    point: str | None = None
    safety: str | None = None


def choice_of(
    to: Sequence[str],
    store: Sequence[str],
    targets: Sequence[str],
    at: str | None,
    limit: float | None,
    point: str | None = None,
    safety: str | None = None,
) -> Choice:
    """Return the options that say what is restored; raises what their forms are refused with."""
    until = until_of(at) if at else None
    return Choice(parse_pairs(to, "--to"), parse_pairs(store, "--store"), tuple(targets), until, limit, point, safety)


def chosen_plan(start: Start, choice: Choice, began: datetime) -> tuple[StandaloneVault, CopyLook, Recovery]:
    """Look at all copies, and choose one."""
    known = tuple(one.name for one in start.facts.targets) if start.facts else ()
    sought = Sought(choice.targets, choice.targets or known, choice.until, choice.point)
    seen = [look_safely(one, start.identities, sought) for one in start.choices]
    chosen = choose_copy([look for _, look in seen])
    if chosen is None:
        said = [look.error or " ".join(look.lacking.values()) for _, look in seen]
        raise BackupStateError(
            "No copy has a backup that can be restored.",
            code="NOTHING_TO_RECOVER",
            detail="\n".join(f"{look.address}: {why}" for (_, look), why in zip(seen, said, strict=True)),
            hint="Name another copy: --from ADDRESS. Is the disk mounted? Do the credentials of this machine belong to "
            "the copy's account?",
        )
    place = next(place for place, look in seen if look is chosen.look and place is not None)
    recovery = Recovery(
        id=str(ULID()),
        coffre_version=__version__,
        began_at=began,
        copy_address=place.choice.place,
        endpoint_url=place.choice.endpoint_url,
        region=place.choice.region,
        why=chosen.why,
        others=chosen.others,
        point=_point_words(chosen.look.point),
        points=tuple(_points_of(place)),
        kit=str(start.kit.absolute()) if start.kit else None,
        identities=start.identity_places,
        contacts=tuple(_called(one) for one in start.facts.contacts) if start.facts else (),
    )
    return place, chosen.look, recovery


def _point_words(point: PointRecord | None) -> str:
    if point is None:
        return ""
    taken = f"{point.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"The restore point {point.id} of {point.name}, taken {taken}: {references_line(point)}."


def _points_of(place: StandaloneVault) -> Iterator[str]:
    """Yield the newest restore points that a copy can restore."""
    for point in islice(whole_points(place.catalog), _POINTS_SHOWN):
        targets = ", ".join(part.target for part in point.parts)
        yield f"{point.id} of {point.name}, taken {point.taken_at:%Y-%m-%d %H:%M} UTC: {targets}"


def _called(contact: ContactFacts) -> str:
    return ", ".join(filter(None, (contact.name, contact.role, contact.phone, contact.mail)))
