"""The providers that Coffre knows, one data file each (ADR 28), and which of them a server is of."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import get_args

from coffre.model.provider import Provider
from coffre.policy.profiles.profile import Profile as Profile
from coffre.policy.profiles.profile import ProviderFacts as ProviderFacts
from coffre.policy.profiles.profile import Signs
from coffre.policy.profiles.profile import fits as fits


@cache
def all_profiles() -> dict[str, Profile]:
    """Return the profile of each provider, in the order in which they are recognized; read when they are asked for."""
    return {name: _read(name) for name in get_args(Provider) if name != "auto"}


def plain() -> Profile:
    """Return the profile of a server without a provider."""
    return all_profiles()["plain"]


def _read(name: str) -> Profile:
    import tomllib  # here: a cold start has no need of it

    text = (Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
    return Profile.model_validate({"name": name, **tomllib.loads(text)})


def detect(facts: ProviderFacts, provider: Provider = "auto") -> Profile:
    """Return the profile of a server: the one that the configuration names, or else the first whose signs it shows."""
    if provider != "auto":
        return all_profiles()[provider]
    return next((profile for profile in all_profiles().values() if profile.signs.show(facts)), plain())


def all_signs() -> Signs:
    """Return what has to be asked of a server, so that it can be recognized."""
    signs = [profile.signs for profile in all_profiles().values()]
    return Signs(
        settings=tuple(name for one in signs for name in one.settings),
        roles=tuple(name for one in signs for name in one.roles),
        functions=tuple(name for one in signs for name in one.functions),
    )


def is_reserved(role: str) -> bool:
    """Whether a role is one that PostgreSQL or any of the providers makes itself."""
    return any(profile.is_reserved(role) for profile in all_profiles().values())
