"""What a person does to a backup: each act has a page that says what it does, and a form on it that does it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from coffre.model.backup import Backup
from coffre.model.kinds import Status
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre_console.access.permissions import Permission
from coffre_console.api.backups import ask_rotate, start_backup
from coffre_console.pages.asked import reason_of, sent_of
from coffre_console.pages.show import Html, command, see_other, show
from coffre_console.routing import Visit


@dataclass(frozen=True)
class Act:
    """One act: who may do it, to which backups, with which fields, and the command for it.

    `start` is the function that does it in the background, perhaps at a `level`; without one, `rotate` does it
    now. `command` may name the fields: `{reason}`.
    """

    name: str
    permission: Permission
    fits: Callable[[Backup], bool]
    command: str
    fields: tuple[str, ...] = ()
    is_grave: bool = False
    start: str = ""
    level: str = ""

    def do(self, visit: Visit, backup: Backup, sent: Mapping[str, str]) -> None:
        if not self.start:
            ask_rotate(visit, backup.id, {self.name: backup.id, **sent})
            return
        refuse_unrestorable(backup)
        level = {"level": self.level} if self.level else {}
        visit.console.functions.start(self.start, {**level, "backup_id": backup.id}, visit.actor)


def _runs(one: Backup) -> bool:
    return one.status is Status.IN_PROGRESS


def _kept(one: Backup) -> bool:
    return one.status is Status.COMPLETED


def _kept_if(name: str, *, is_set: bool) -> Callable[[Backup], bool]:
    return lambda one: _kept(one) and (getattr(one, name) is not None) is is_set


_ALL: Final = (
    Act("cancel", Permission.CANCEL, _runs, "coffre cancel {id}", is_grave=True),
    Act("verify", Permission.VERIFY, _kept, "coffre verify {id} --level read", start="verify", level="read"),
    Act("drill", Permission.DRILL, _kept, "coffre verify {id} --level drill", start="drill"),
    Act("pin", Permission.KEEP, _kept_if("pinned_at", is_set=False), "coffre pin {id}"),
    Act("unpin", Permission.KEEP, _kept_if("pinned_at", is_set=True), "coffre unpin {id}"),
    Act("hold", Permission.KEEP, _kept_if("held_at", is_set=False), "coffre hold {id} --reason {reason}", ("reason",)),
    Act("release", Permission.DELETE, _kept_if("held_at", is_set=True), "coffre release {id}", is_grave=True),
)
ACTS: Final[Mapping[str, Act]] = {act.name: act for act in _ALL}


def ask(act: Act, visit: Visit, backup: Backup) -> Html:
    sent = sent_of(visit, *act.fields)
    line = act.command.format(id=backup.id, reason=shlex.quote(sent.get("reason") or "WHY"))
    return show(visit, "act", command=line, act=act, backup=backup, sent=sent, fits=act.fits(backup))


def do(act: Act, visit: Visit, backup: Backup) -> Html:
    sent = sent_of(visit, *act.fields)
    if "reason" in sent:
        reason_of(sent)
    act.do(visit, backup, sent)
    return see_other(visit, f"/backups/{backup.id}", done=act.name)


def new_backup(visit: Visit) -> Html:
    sent = sent_of(visit, "target", "keep", "full")
    targets = [one for one in visit.source.configuration().targets if visit.caller.may(Permission.BACKUP, one.name)]
    chosen = next((one for one in targets if one.name == sent["target"]), None)
    kind = "storage" if chosen is not None and chosen.kind.has_objects else "database"
    line = command("backup", kind, chosen.name if chosen is not None else "", keep=sent["keep"])
    return show(visit, "new_backup", command=line, targets=[one.name for one in targets], sent=sent)


def back_up(visit: Visit) -> Html:
    sent = sent_of(visit, "target", "keep", "full")
    started = start_backup(visit, sent["target"], keep=sent["keep"] or None, full=bool(sent["full"]))
    return see_other(visit, f"/backups/{started.body.id}", done="start")  # type: ignore[union-attr]


PAGES: Final[Mapping[str, Any]] = {
    "GET /backups/new": new_backup,
    "POST /backups/new": back_up,
    **{f"GET /backups/<backup_id>/{act.name}": partial(ask, act) for act in _ALL},
    **{f"POST /backups/<backup_id>/{act.name}": partial(do, act) for act in _ALL},
}
