"""What the console keeps in the table: sessions, keys of the API, counters of refused attempts, and what it starts."""

from __future__ import annotations

from pynamodb.attributes import ListAttribute, NumberAttribute, UnicodeAttribute

from coffre.catalog.items import Item, TimeAttribute


class SessionItem(Item):
    """`coffre.model.session.Session`. `sk` is its id. DynamoDB removes it some time after `expires_at_epoch`."""

    name = UnicodeAttribute(null=True)
    shown = UnicodeAttribute(null=True)
    browser = UnicodeAttribute(null=True)
    groups = ListAttribute(of=UnicodeAttribute, null=True)
    issuer = UnicodeAttribute(null=True)
    client_id = UnicodeAttribute(null=True)
    began_at = TimeAttribute(null=True)
    seen_at = TimeAttribute(null=True)
    expires_at = TimeAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)


class ApiKeyItem(Item):
    """`coffre.model.api_key.ApiKey`. `sk` is its id.

    `minute` and `uses` count the requests of one minute. DynamoDB removes the item after `expires_at_epoch`, some
    months after the key's end: until then the list says what became of it.
    """

    label = UnicodeAttribute(null=True)
    scopes = ListAttribute(of=UnicodeAttribute, null=True)
    made_by = UnicodeAttribute(null=True)
    made_at = TimeAttribute(null=True)
    expires_at = TimeAttribute(null=True)
    sha256 = UnicodeAttribute(null=True)
    previous_sha256 = UnicodeAttribute(null=True)
    previous_until = TimeAttribute(null=True)
    rotated_at = TimeAttribute(null=True)
    revoked_at = TimeAttribute(null=True)
    revoked_by = UnicodeAttribute(null=True)
    last_used_at = TimeAttribute(null=True)
    minute = NumberAttribute(null=True)
    uses = NumberAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)


class AttemptItem(Item):
    """How many attempts of one origin were refused in one window. `sk` is the window's number and a digest of it."""

    refused = NumberAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)


class StartItem(Item):
    """Which backup of a target the console has started last. `sk` is the target."""

    backup_id = UnicodeAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)
