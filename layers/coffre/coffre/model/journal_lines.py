"""The lines of a journal's segment as they are stored (docs/format/v1.md): `[lsn,xid,"text"]`, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring
from typing import Final

from coffre.model.errors import JournalError

_PIECE_CHARACTERS: Final = 64 * 1024


def pieces_of(lines: Iterable[tuple[int, int, str]]) -> Iterator[bytes]:
    """Yield lines (`lsn, xid, data`) as they are stored, many in a piece, none of them in two.

    Raises
    ------
    JournalError
        For the reason that a line cannot be read, after those before it.
    """
    waiting, size = list[str](), 0
    unread: JournalError | None = None
    try:
        for lsn, xid, data in lines:
            text = f"[{lsn},{xid},{encode_basestring(data)}]\n"
            waiting.append(text)
            size += len(text)
            if size >= _PIECE_CHARACTERS:
                yield "".join(waiting).encode()
                waiting, size = [], 0
    except JournalError as error:
        unread = error
    if waiting:
        yield "".join(waiting).encode()
    if unread is not None:
        raise unread
