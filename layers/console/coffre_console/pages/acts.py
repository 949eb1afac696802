"""What a person does to a backup: each act has a page that says what it does, and a form on it that does it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre.model.kinds import Status
from coffre.operations.stored_backup.open import refuse_unrestorable
from coffre_console.access.permissions import Permission
from coffre_console.api.backups import ask_rotate, start_backup
from coffre_console.pages.show import backup_of, known_fields, see_other, show
from coffre_console.problems import ProblemError, WrongField
from coffre_console.routing import Routes, Visit

_LONGEST_REASON: Final = 256


@dataclass(frozen=True)
class Act:
    """One act: who may do it, to which backups, with which fields, and the command for it.

    `do` gets the fields that the form has sent. `command` may name them: `{reason}`.
    """

    name: str
    permission: Permission
    fits: Callable[[Backup], bool]
    command: str
    do: Callable[[Visit, Backup, Mapping[str, str]], object]
    fields: tuple[str, ...] = ()
    is_grave: bool = False


def _rotate(name: str) -> Callable[[Visit, Backup, Mapping[str, str]], object]:
    return lambda visit, backup, sent: ask_rotate(visit, backup.id, {name: backup.id, **sent})


def _start(function: str, **event: Any) -> Callable[[Visit, Backup, Mapping[str, str]], object]:
    def start(visit: Visit, backup: Backup, sent: Mapping[str, str]) -> None:
        refuse_unrestorable(backup)
        visit.console.functions.start(function, {**event, "backup_id": backup.id, **sent}, visit.actor)

    return start


def _is_kept(backup: Backup) -> bool:
    return backup.status is Status.COMPLETED


ACTS: Final[Mapping[str, Act]] = MappingProxyType(
    {
        act.name: act
        for act in (
            Act(
                "cancel",
                Permission.CANCEL,
                lambda one: one.status is Status.IN_PROGRESS,
                "coffre cancel {id}",
                _rotate("cancel"),
                is_grave=True,
            ),
            Act(
                "verify",
                Permission.VERIFY,
                _is_kept,
                "coffre verify {id} --level read",
                _start("verify", level="read"),
            ),
            Act("drill", Permission.DRILL, _is_kept, "coffre verify {id} --level drill", _start("drill")),
            Act(
                "pin",
                Permission.KEEP,
                lambda one: _is_kept(one) and one.pinned_at is None,
                "coffre pin {id}",
                _rotate("pin"),
            ),
            Act(
                "unpin",
                Permission.KEEP,
                lambda one: _is_kept(one) and one.pinned_at is not None,
                "coffre unpin {id}",
                _rotate("unpin"),
            ),
            Act(
                "hold",
                Permission.KEEP,
                lambda one: _is_kept(one) and one.held_at is None,
                "coffre hold {id} --reason {reason}",
                _rotate("hold"),
                ("reason",),
            ),
            Act(
                "release",
                Permission.DELETE,
                lambda one: _is_kept(one) and one.held_at is not None,
                "coffre release {id}",
                _rotate("release"),
                is_grave=True,
            ),
        )
    }
)


def register(routes: Routes) -> None:
    """Register the routes: each act's page and its form, and backing up now."""
    for act in ACTS.values():
        _register_act(routes, act)

    @routes.add("GET", "/backups/new")
    def choose() -> Answer[str]:
        visit = routes.visit
        return _new_backup(visit, known_fields(visit.request.query, ("target", "keep", "full")))

    @routes.add("POST", "/backups/new")
    def take() -> Answer[str]:
        visit = routes.visit
        sent = known_fields(visit.request.form, ("target", "keep", "full"))
        started = start_backup(visit, sent["target"], keep=sent["keep"] or None, full=bool(sent["full"]))
        return see_other(visit, f"/backups/{started.body.id}", done="start")  # type: ignore[union-attr]


def _register_act(routes: Routes, act: Act) -> None:
    path = f"/backups/<backup_id>/{act.name}"

    def ask(backup_id: str) -> Answer[str]:
        visit = routes.visit
        backup = backup_of(visit, backup_id, act.permission)
        sent = known_fields(visit.request.query, act.fields)
        command = act.command.format(id=backup.id, reason=shlex.quote(sent.get("reason") or "WHY"))
        return show(visit, "act", command=command, act=act, backup=backup, sent=sent, fits=act.fits(backup))

    def do(backup_id: str) -> Answer[str]:
        visit = routes.visit
        backup = backup_of(visit, backup_id, act.permission)
        sent = known_fields(visit.request.form, act.fields)
        if "reason" in sent and not (0 < len(sent["reason"]) <= _LONGEST_REASON and sent["reason"].isprintable()):
            wrong = WrongField(where="reason", what=f"expected 1 to {_LONGEST_REASON} printable characters")
            raise ProblemError(422, "REQUEST_INVALID", "A reason is needed.", errors=(wrong,))
        act.do(visit, backup, sent)
        return see_other(visit, f"/backups/{backup.id}", done=act.name)

    routes.add("GET", path)(ask)
    routes.add("POST", path)(do)


def _new_backup(visit: Visit, sent: Mapping[str, str]) -> Answer[str]:
    targets = [one for one in visit.source.configuration().targets if visit.caller.may(Permission.BACKUP, one.name)]
    chosen = next((one for one in targets if one.name == sent["target"]), None)
    kind = "storage" if chosen is not None and chosen.kind.has_objects else "database"
    parts = ["coffre backup", kind, chosen.name if chosen is not None else ""]
    parts += [f"--keep {sent['keep']}"] if sent["keep"] else []
    return show(
        visit, "new_backup", command=" ".join(filter(None, parts)), targets=[one.name for one in targets], sent=sent
    )
