"""Keys of the API: made, rotated and revoked; each is shown once. And sessions of people, which can be ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from coffre.model.api_key import ApiScope
from coffre_console.api.keys import KeyWanted, Rotation, all_keys, create_key, revoke_key, rotate_key
from coffre_console.api.sessions import end_sessions, seen_sessions
from coffre_console.pages.asked import sent_of, wrong
from coffre_console.pages.show import Html, command, see_other, show
from coffre_console.problems import NOT_FOUND, checked
from coffre_console.routing import Visit

_FIELDS: Final = ("label", "scope", "target", "days")
_KEY: Final = re.compile(r"[0-9a-f]{16}")


def keys(visit: Visit) -> Html:
    return _keys(visit, sent_of(visit, *_FIELDS))


def create(visit: Visit) -> Html:
    sent = sent_of(visit, *_FIELDS)
    scope = f"{sent['scope']}:{sent['target']}" if sent["target"] else sent["scope"]
    wanted = checked(KeyWanted, {"label": sent["label"], "scopes": [scope], "days": sent["days"] or 90})
    return _keys(visit, sent, secret=create_key(visit, wanted).secret)


def change(what: str, visit: Visit, key_id: str) -> Html:
    """Rotate or revoke a key. A sign-in in the middle leads back to the keys."""
    sent_of(visit)
    if not _KEY.fullmatch(key_id):
        raise NOT_FOUND
    if visit.request.method == "POST" and what == "rotate":
        return _keys(visit, {}, secret=rotate_key(visit, key_id, Rotation()).secret)
    if visit.request.method == "POST":
        revoke_key(visit, key_id)
    return see_other(visit, "/keys")


def _keys(visit: Visit, sent: Mapping[str, str], secret: str | None = None) -> Html:
    sent = {name: sent.get(name, "") for name in _FIELDS} | {"days": sent.get("days") or "90"}
    scope = f"{sent['scope'] or 'backup:run'}{':' + sent['target'] if sent['target'] else ''}"
    found, unread = all_keys(visit)
    return show(
        visit,
        "keys",
        command=command("api-keys", "create", sent["label"] or "LABEL", scope=scope, expires=f"{sent['days']}d"),
        keys=[(key, key.state(visit.now)) for key in found],
        unread=unread,
        scopes=list(ApiScope),
        targets=[one.name for one in visit.source.configuration().targets],
        sent=sent,
        secret=secret,
    )


def sessions(visit: Visit) -> Html:
    """Show the sessions of who asks; to who may end them, everyone's."""
    sent_of(visit, "id")
    found, unread = seen_sessions(visit)
    return show(visit, "sessions", command="coffre audit --action session", sessions=found, unread=unread)


def end(visit: Visit) -> Html:
    """End one session, or all of who asks."""
    wanted = sent_of(visit, "id")["id"]
    if not wanted:
        raise wrong("id", "expected a session, or all")
    end_sessions(visit, wanted)
    return see_other(visit, "/sessions")


PAGES: Final[Mapping[str, Any]] = {
    "GET /keys": keys,
    "POST /keys": create,
    **{
        f"{method} /keys/<key_id>/{what}": partial(change, what)
        for method in ("GET", "POST")
        for what in ("rotate", "revoke")
    },
    "GET /sessions": sessions,
    "GET /sessions/end": sessions,
    "POST /sessions/end": end,
}
