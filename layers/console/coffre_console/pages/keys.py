"""Keys of the API: each is shown once, on the answer to the form that made it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer
from pydantic import ValidationError

from coffre.model.api_key import ApiScope
from coffre_console.api.keys import KeyWanted, Rotation, create_key, revoke_key, rotate_key
from coffre_console.pages.show import known_fields, see_other, show
from coffre_console.problems import NOT_FOUND, of_wrong_fields
from coffre_console.routing import Routes, Visit

_FIELDS: Final = ("label", "scope", "target", "days")
_ID: Final = re.compile(r"[0-9a-f]{16}")


def register(routes: Routes) -> None:
    """Register the routes."""

    @routes.add("GET", "/keys")
    def keys() -> Answer[str]:
        visit = routes.visit
        return _page(visit, known_fields(visit.request.query, _FIELDS))

    @routes.add("POST", "/keys")
    def create() -> Answer[str]:
        visit = routes.visit
        sent = known_fields(visit.request.form, _FIELDS)
        scope = f"{sent['scope']}:{sent['target']}" if sent["target"] else sent["scope"]
        try:
            wanted = KeyWanted.model_validate({"label": sent["label"], "scopes": [scope], "days": sent["days"] or 90})
        except ValidationError as error:
            raise of_wrong_fields(error.errors()) from None
        return _page(visit, sent, secret=create_key(visit, wanted).secret)

    def act(key_id: str, what: str) -> Answer[str]:
        visit = routes.visit
        known_fields(visit.request.form if visit.request.method == "POST" else visit.request.query, ())
        if not _ID.fullmatch(key_id):
            raise NOT_FOUND
        if visit.request.method == "GET":
            return see_other(visit, "/keys")
        if what == "rotate":
            return _page(visit, {}, secret=rotate_key(visit, key_id, Rotation()).secret)
        revoke_key(visit, key_id)
        return see_other(visit, "/keys")

    for what in ("rotate", "revoke"):

        def one(key_id: str, what: str = what) -> Answer[str]:
            return act(key_id, what)

        routes.add("GET", f"/keys/<key_id>/{what}")(one)
        routes.add("POST", f"/keys/<key_id>/{what}")(one)


def _page(visit: Visit, sent: Mapping[str, str], secret: str | None = None) -> Answer[str]:
    scope = f"{sent.get('scope') or 'backup:run'}{':' + sent['target'] if sent.get('target') else ''}"
    command = ["coffre", "api-keys", "create", sent.get("label") or "LABEL", "--scope", scope]
    now = visit.now
    return show(
        visit,
        "keys",
        command=shlex.join([*command, "--expires", f"{sent.get('days') or 90}d"]),
        keys=[(key, key.state(now)) for key in visit.source.catalog.api_keys.all()],
        scopes=list(ApiScope),
        targets=[one.name for one in visit.source.configuration().targets],
        sent={name: sent.get(name, "") for name in _FIELDS} | {"days": sent.get("days") or "90"},
        secret=secret,
    )
