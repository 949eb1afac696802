"""The event of the function `notify`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from coffre.alerts.message import Message
from coffre.model.document import FrozenModel
from coffre.runtime.events.event import Event


class _SnsValue(FrozenModel):
    Value: str = ""


class _SnsMessage(FrozenModel):
    Subject: str | None = None
    Message: str
    MessageAttributes: dict[str, _SnsValue] = Field({})


class _SnsRecord(FrozenModel):
    Sns: _SnsMessage


class NotifyEvent(Event):
    """Send alerts on: what the topic delivers (`Records`), or one message to one destination, or a test to all.

    `destination` is a number: the line of the URL in the secret.
    """

    Records: tuple[_SnsRecord, ...] = ()
    message: Message | None = None
    destination: int | None = None
    test: bool = False

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if sum((bool(self.Records), self.message is not None, self.test)) != 1:
            raise ValueError("one of Records, message and test is needed")
        if (self.message is None) != (self.destination is None):
            raise ValueError("message and destination go together")
        return self

    @property
    def messages(self) -> list[Message]:
        """What the topic delivered."""
        delivered = [record.Sns for record in self.Records]
        return [
            Message.of_sns(one.Subject, one.Message, {name: it.Value for name, it in one.MessageAttributes.items()})
            for one in delivered
        ]
