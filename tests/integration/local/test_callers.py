"""Who sent an event, as an STS says that checks signatures: the local AWS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from coffre.model.audit import Actor
from coffre.model.errors import IdentityError
from coffre.runtime.caller_proof import Audience, Proof, digest_of
from coffre.runtime.callers import Callers
from coffre_cli.caller import Caller
from coffre_local.aws import activated, session, start_aws
from coffre_local.toolchain import Toolchain

NAME = "coffre-restore"
EVENT = {"backup_id": "latest", "target": "shop"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The variables that lead to a local AWS."""
    aws = start_aws(Toolchain().ministack(), tmp_path_factory.mktemp("aws") / "aws")
    yield aws.environment()
    aws.stop()


@pytest.fixture
def alice(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a user of the account."""
    own: Any = session(environment)
    with closing(own.client("iam", endpoint_url=environment["AWS_ENDPOINT_URL"])) as iam:
        iam.create_user(UserName="alice")
        key = iam.create_access_key(UserName="alice")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return {**environment, **keys}


def test_the_command_proves_who_runs_it(environment: Mapping[str, str], alice: Mapping[str, str]) -> None:
    # When Alice's command signs an event
    with activated(alice):
        caller = Caller.of_this_process()
        sent = caller.sign("restore", NAME, EVENT)

    # Then the function that it is for finds out by itself that it was she
    assert caller.arn is not None
    audience = Audience.near(caller.arn, environment["AWS_REGION"], NAME)
    function = Callers(audience, environment, lambda: datetime.now(UTC))
    proof = Proof.model_validate(sent["proof"])
    assert function.verified(proof, digest_of(sent)) == Actor(caller.arn, verified=True)
    assert caller.arn.endswith(":user/alice")

    # And nobody else's words are hers
    with pytest.raises(IdentityError):
        function.verified(proof, digest_of({**sent, "target": "other"}))
