"""What every event has in common. An unknown field is an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import AfterValidator, AwareDatetime, Field, PrivateAttr, ValidationError

from coffre.model.audit import Actor
from coffre.model.document import Document, describe_validation
from coffre.model.errors import EventError
from coffre.model.names import visible
from coffre.model.times import in_utc, parse_span
from coffre.runtime.caller_proof import Proof, digest_of

Ulid = Annotated[str, Field(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$", description="a ULID")]


def _checked_span(text: str) -> str:
    parse_span(text)
    return text


def checked_name(text: str) -> str:
    """Return a text that a person reads; raises ValueError for one with characters that are not shown."""
    if visible(text) != text:
        raise ValueError("should have printable characters only")
    return text


LONGEST_ACTOR: Final = 256
Span = Annotated[str, AfterValidator(_checked_span)]
Line = Annotated[str, Field(min_length=1, max_length=LONGEST_ACTOR), AfterValidator(checked_name)]
Utc = Annotated[AwareDatetime, AfterValidator(in_utc)]


class Event(Document):
    @classmethod
    def parse(cls, event: object) -> Self:
        """Validate an event.

        Raises
        ------
        EventError
            Names each wrong field, and the fields that are known.
        """
        if not isinstance(event, Mapping):
            raise EventError(
                f"The event must be a JSON object, not {type(event).__name__}.",
                hint="The folder events/ has an example of each.",
            )
        try:
            return cls.model_validate(dict(event))
        except ValidationError as error:
            fields = sorted(cls.model_fields.items(), key=lambda field: field[0] in SentEvent.model_fields)
            known = ", ".join(about.alias or name for name, about in fields)
            raise EventError(
                "The event has wrong fields.",
                detail="; ".join(describe_validation(error)),
                hint=f"Known fields: {known}. The folder events/ has an example of each.",
            ) from error


class SentEvent(Event):
    """An event that a person may send. `Services.actor` says who it was.

    `actor` is the name that the sender claims; `proof` proves which AWS credentials sent the event (docs/identity.md).
    The proof is of this event alone: it is in nothing that is made of the event.
    """

    actor: Line | None = None
    proof: Proof | None = Field(default=None, exclude=True, repr=False)
    _digest: str = PrivateAttr(default="")

    @classmethod
    def parse(cls, event: object) -> Self:
        """Validate an event, and keep what its proof is of; raises what `Event.parse` raises."""
        parsed = super().parse(event)
        if parsed.proof is not None and isinstance(event, Mapping):
            parsed._digest = digest_of(event)
        return parsed

    @property
    def digest(self) -> str:
        """What the proof is of: `digest_of` the event as it was received."""
        return self._digest

    def sent_by(self, actor: Actor) -> Self:
        """Return the event with the name of who sent it, for further invocations; without a name it stays as it is."""
        if self.actor is None and self.proof is None:
            return self
        return self.model_copy(update={"actor": actor.name[:LONGEST_ACTOR], "proof": None})
