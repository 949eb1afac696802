"""The texts of a recovery kit: the README, the page to print, and the page with the private keys."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from coffre.model.names import visible
from coffre_cli.commands.keys.key_inventory import KnownKey
from coffre_cli.commands.keys.kit_facts import KitFacts

_TEMPLATES: Final = Path(__file__).parent / "kit"
# What QR codes of this size hold, and phones still read from paper.
_QR_MOST_CHARACTERS: Final = 800


def readme(facts: KitFacts) -> str:
    """Return what a stranger reads first."""
    return _rendered("README.md.jinja", {"facts": facts, "example": _examples(facts)}, is_html=False)


def printed_page(facts: KitFacts) -> str:
    """Return the page to print: public facts alone, with QR codes."""
    codes = [("Address of the vault", _qr(facts.vault.address))]
    codes += [(f"Public key of {', '.join(key.targets)}: {key.recipient}", _qr(key.recipient)) for key in facts.keys]
    return _rendered("page.html.jinja", {"facts": facts, "example": _examples(facts), "codes": codes}, is_html=True)


def secret_page(facts: KitFacts, keys: Sequence[KnownKey]) -> str:
    """Return the page with the private keys as text and QR codes: it is not encrypted."""
    codes = [(one.recipient, one.identity, _qr(one.identity)) for one in keys]
    return _rendered("identity.html.jinja", {"facts": facts, "codes": codes}, is_html=True)


def _examples(facts: KitFacts) -> Mapping[str, str | None]:
    """Return a target of each kind, for the commands to copy, and the key file's name in them."""
    first = {target.kind: target.name for target in reversed(facts.targets)}
    identity = "identity.age" if facts.identity_at is None else "identity.txt"
    return {"database": first.get("database"), "bucket": first.get("bucket"), "identity": identity}


def _qr(text: str) -> str:
    import segno

    if len(text) > _QR_MOST_CHARACTERS:
        return ""
    output = io.BytesIO()
    segno.make_qr(text, error="m").save(output, kind="svg", scale=4, xmldecl=False, svgns=True, nl=False)
    return output.getvalue().decode()


def _rendered(name: str, values: Mapping[str, Any], *, is_html: bool) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=is_html,  # noqa: S701 (the README is no HTML; `visible` keeps names from steering a terminal)
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )
    return environment.get_template(name).render(**values)
