"""The reader of settings: what it asks AWS for, and what it makes of refusals."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from coffre.buckets.object_facts import Listed
from coffre.buckets.settings_reader import SettingsReader
from coffre.buckets.source import ObjectSource
from coffre.model.errors import CoffreError, ObjectMissingError, RunStoppedError, StoreError, StoreTransientError

CANARY: Final = "c4n4ry"


class Refusing:
    """A client that answers every call with an error whose message repeats a value."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_secret_value(self, **_: Any) -> Any:
        raise self.error


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": f"{CANARY} is no value"}}, "GetSecretValue")


def reader(secrets: Any = None, parameters: Any = None) -> SettingsReader:
    return SettingsReader(secrets, parameters, "eu-west-3", threading.Event())


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (refusal("AccessDeniedException"), StoreError, "STORE_DENIED"),
        (refusal("ResourceNotFoundException"), ObjectMissingError, "OBJECT_MISSING"),
        (refusal("DecryptionFailure"), StoreError, "KMS_UNUSABLE"),
        (refusal("ThrottlingException"), StoreTransientError, "STORE_UNAVAILABLE"),
        (refusal("Unheard"), StoreError, "STORE_FAILED"),
        (EndpointConnectionError(endpoint_url=CANARY), StoreTransientError, "STORE_UNAVAILABLE"),
    ],
)
def test_a_refusal_is_told_by_its_code_alone(error: Exception, kind: type[CoffreError], code: str) -> None:
    with pytest.raises(kind) as caught:
        reader(Refusing(error)).piece("secrets", Listed("app/db", 0, is_sized=False), 0)

    assert caught.value.code == code
    assert CANARY not in f"{caught.value} {caught.value.detail} {caught.value.hint}"
    assert caught.value.__suppress_context__


def test_a_run_that_is_stopped_asks_for_nothing_more() -> None:
    source = reader(Refusing(AssertionError("it was asked")))
    source.stopping.set()

    with pytest.raises(RunStoppedError):
        source.piece("secrets", Listed("app/db", 0), 0)


def test_parameters_are_read_one_after_another() -> None:
    """SSM allows an account few reads a second, and the application needs them."""
    both = threading.Barrier(2)

    class Parameters:
        met = False

        def get_parameter(self, **_: Any) -> Any:
            try:
                both.wait(0.2)
                self.met = True
            except threading.BrokenBarrierError:
                both.reset()
            return {"Parameter": {"Value": "a", "Version": 1}}

    parameters = Parameters()
    source: ObjectSource = reader(parameters=parameters)
    with ThreadPoolExecutor(2) as pool:
        pieces = list(pool.map(lambda name: source.piece("parameters", Listed(name, 0), 0), ["/a", "/b"]))

    assert len(pieces) == 2
    assert not parameters.met
