"""A person's session in the console."""

from __future__ import annotations

from pydantic import AwareDatetime

from coffre.model.document import Document


class Session(Document):
    """One session. `id` is the SHA-256 of what the browser has, in lower-case hex: the table opens no session.

    `name` is who it is (stable, unique), `shown` what a page calls the person, `groups` what the identity provider said
    at the sign-in: which roles they give is decided at each request. `issuer` and `client_id` say where that was, for
    groups of another provider mean something else. `browser` is its name and system.
    """

    id: str
    name: str
    shown: str
    groups: tuple[str, ...] = ()
    issuer: str = ""
    client_id: str = ""
    began_at: AwareDatetime
    seen_at: AwareDatetime
    expires_at: AwareDatetime
    browser: str = ""
