"""Whom the console lets in: those that the configuration names, otherwise those of the stack's own user pool."""

from __future__ import annotations

from coffre.model.configuration import Configuration
from coffre.runtime.environment import ConsoleSettings
from coffre_console.access.grants import of_groups
from coffre_console.access.permissions import Permission
from coffre_console.console import with_user_pool

POOL = "https://cognito-idp.eu-west-3.amazonaws.com/eu-west-3_abc"
OWN = {"issuer": "https://login.example.com", "client_id": "own", "roles": [{"group": "dba", "role": "admin"}]}
ENVIRONMENT = {
    "COFFRE_CONFIGURATION": "c",
    "COFFRE_VAULT_BUCKET": "v",
    "COFFRE_CATALOG_TABLE": "t",
    "COFFRE_ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-3:1:t",
    "COFFRE_STACK": "coffre",
    "COFFRE_CONSOLE_ADDRESS": "https://x.example.com",
    "COFFRE_DOWNLOAD_ROLE": "arn:aws:iam::1:role/d",
}
USERS = {"COFFRE_USERS_ISSUER": POOL, "COFFRE_USERS_CLIENT": "abc"}
TARGETS = {"encryption": "none", "targets": [{"name": "shop", "secret": "coffre/database/shop"}]}


def test_a_user_pool_counts_where_the_configuration_names_no_issuer() -> None:
    with_pool = ConsoleSettings.from_env({**ENVIRONMENT, **USERS})
    without = ConsoleSettings.from_env({**ENVIRONMENT, "COFFRE_USERS_ISSUER": "", "COFFRE_USERS_CLIENT": ""})
    plain, own = (Configuration.model_validate(one) for one in (TARGETS, {**TARGETS, "console": OWN}))

    made = with_user_pool(plain, with_pool)

    assert made.console is not None
    assert (made.console.issuer, made.console.client_id, made.console.groups_claim) == (POOL, "abc", "cognito:groups")
    assert any(one.gives(Permission.DELETE, "shop") for one in of_groups(made, ["admin"]))
    assert not any(one.gives(Permission.DELETE, "shop") for one in of_groups(made, ["viewer", "dba"]))
    assert with_user_pool(own, with_pool) == own
    assert with_user_pool(plain, without) == plain
