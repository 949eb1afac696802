"""The XML that stores and STS answer."""

from __future__ import annotations

from xml.etree import ElementTree


def parse_xml(body: bytes) -> ElementTree.Element:
    """Return the root element of an answer. expat bounds entities, and resolves none outside.

    Raises
    ------
    ElementTree.ParseError
        It is no XML, or in an encoding that does not exist or cannot be read.
    """
    try:
        return ElementTree.fromstring(body)  # noqa: S314 - see above
    except (LookupError, ValueError) as error:
        raise ElementTree.ParseError(str(error)) from None
