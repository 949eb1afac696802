"""Problems of what is not configured any more: no run notices that they are over, as none looks for them."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from coffre.alerts.alert import EVERY_TARGET, AlertKind
from coffre.alerts.copy_care import is_copy, target_of
from coffre.model.configuration import Configuration
from coffre.model.incident import Incident
from coffre.operations.monitoring.alerting import Alerting

_KINDS: Final = frozenset(kind.value for kind in AlertKind)


def end_removed(alerting: Alerting, configuration: Configuration) -> None:
    """Send that problems of targets and copies are over which the configuration does not have any more.

    What is wrong with backups that exist stays open: verification and rotation look at those, too.

    Raises
    ------
    CoffreError
        The catalog did not answer, or the topic: the next look tries it again.
    """
    known = {EVERY_TARGET, *configuration.names, *(target.name for target in configuration.targets)}
    known |= {target_of(copy.name) for copy in configuration.copies}
    places = {copy.name for copy in configuration.copies}
    over: dict[tuple[str, str], list[Incident]] = defaultdict(list)
    for one in alerting.catalog.incidents.open():
        kind = AlertKind(one.kind) if one.kind in _KINDS else None  # one of a later version is left to that
        if kind is None or kind.is_event:
            continue
        if one.target not in known and (kind.is_of_configured or is_copy(one.target)):
            over[one.target, one.target].append(one)
        elif kind is AlertKind.COPY_FAILED and (place := one.fingerprint.partition(":")[0]) not in places:
            over[one.target, target_of(place)].append(one)
    for (_, gone), found in sorted(over.items()):
        what = f'The copy "{gone.removeprefix(target_of(""))}"' if is_copy(gone) else f'The target "{gone}"'
        why = (
            f"{what} is not in the configuration any more, so nothing more is expected of it. Backups that exist stay."
        )
        alerting.end(found, why)
