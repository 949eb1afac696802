"""A session whose clients are made one after another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

import botocore.session
import pytest

from coffre.concurrency.shared_session import SharedSession


def test_two_threads_do_not_make_clients_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both_inside = Barrier(2)

    def create(session: object, service: str) -> bool:
        try:
            both_inside.wait(0.2)
        except BrokenBarrierError:
            return False
        return True

    monkeypatch.setattr(botocore.session.Session, "create_client", create)
    session = SharedSession()
    with ThreadPoolExecutor(2) as pool:
        met = list(pool.map(session.create_client, ["ssm", "sns"]))

    assert met == [False, False]


def test_a_client_is_made_as_botocore_makes_it() -> None:
    client = SharedSession().create_client("sns", region_name="eu-west-1")

    assert client.meta.region_name == "eu-west-1"
