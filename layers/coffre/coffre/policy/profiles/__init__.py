"""The providers that Coffre knows, one data file each (ADR 28), and which of them a server is of."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final, get_args

from coffre.model.provider import Provider
from coffre.policy.profiles.profile import Profile as Profile
from coffre.policy.profiles.profile import ProviderFacts as ProviderFacts
from coffre.policy.profiles.profile import Signs
from coffre.policy.profiles.profile import fits as fits


def _read(name: str) -> Profile:
    text = (Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
    return Profile.model_validate({"name": name, **tomllib.loads(text)})


# In the order in which they are recognized.
PROFILES: Final = {name: _read(name) for name in get_args(Provider) if name != "auto"}
PLAIN: Final = PROFILES["plain"]


def detect(facts: ProviderFacts, provider: Provider = "auto") -> Profile:
    """Return the profile of a server: the one that the configuration names, or else the first whose signs it shows."""
    if provider != "auto":
        return PROFILES[provider]
    return next((profile for profile in PROFILES.values() if profile.signs.show(facts)), PLAIN)


def all_signs() -> Signs:
    """Return what has to be asked of a server, so that it can be recognized."""
    signs = [profile.signs for profile in PROFILES.values()]
    return Signs(
        settings=tuple(name for one in signs for name in one.settings),
        roles=tuple(name for one in signs for name in one.roles),
        functions=tuple(name for one in signs for name in one.functions),
    )


def is_reserved(role: str) -> bool:
    """Whether a role is one that PostgreSQL or any of the providers makes itself."""
    return any(profile.is_reserved(role) for profile in PROFILES.values())
