"""Fetch the pinned inputs into a cache that is checked by hash on every use."""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .debian import Apt, Offer, open_apt
from .model import ARCHITECTURES, Input, RecipeError, Settings, say


@dataclass(frozen=True)
class Fetched:
    """An input as it was taken, and the file that holds it."""

    taken: Input
    path: Path


def fetch(pins: Sequence[Input], settings: Settings) -> list[Fetched]:
    """Return a verified file for every pin, in the order of the pins.

    Raises
    ------
    RecipeError
        A hash differs, a package is not to be had, or a pinned version is gone and the build is strict.
    """
    with _cache(settings) as cache:
        missing = [pin for pin in pins if not _is_cached(pin, cache)]
        for pin in missing:
            if pin.kind == "wheel":
                _store(pin, _download_wheel(pin, cache), cache)
        debs = [pin for pin in missing if pin.kind == "deb"]
        taken = _fetch_debs(debs, settings, cache) if debs else {}
        return [Fetched(taken.get(pin, pin), cache / taken.get(pin, pin).file_name) for pin in pins]


def renew(pins: Sequence[Input], settings: Settings) -> list[Input]:
    """Return the pins with Debian 12's newest versions and the hashes of today; wheels keep their version."""
    debs = [pin for pin in pins if pin.kind == "deb"]
    with _cache(settings) as cache:
        apt = open_apt(cache / "apt", settings.os_release)
        newest = _newest(apt, debs)
        wheels = [
            replace(pin, sha256=_sha256(_download_wheel(replace(pin, sha256=""), cache)))
            for pin in pins
            if pin.kind == "wheel"
        ]
        return [_as_input(newest[pin]) for pin in debs] + wheels


@contextmanager
def _cache(settings: Settings) -> Iterator[Path]:
    """Hold the cache directory alone: `sam build --parallel` may run several recipes at the same time."""
    cache = settings.cache / "layer-inputs"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache


def _is_cached(pin: Input, cache: Path) -> bool:
    path = cache / pin.file_name
    if not path.is_file():
        return False
    if _sha256(path.read_bytes()) == pin.sha256:
        return True
    say(f"the cached {path.name} does not match its hash: fetching it again.")
    path.unlink()
    return False


def _store(pin: Input, data: bytes, cache: Path) -> None:
    actual = _sha256(data)
    if actual != pin.sha256:
        raise RecipeError(
            f"{pin} has sha256 {actual}, but {pin.sha256} is pinned.\n"
            "  The same version must never change: do not use this file; find out who changed it before re-pinning."
        )
    with tempfile.NamedTemporaryFile(dir=cache, delete=False) as file:
        file.write(data)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(cache / pin.file_name)


def _fetch_debs(pins: Sequence[Input], settings: Settings, cache: Path) -> dict[Input, Input]:
    """Fetch packages into the cache; return what was taken for each pin."""
    apt = open_apt(cache / "apt", settings.os_release)
    offers = {(offer.name, offer.architecture, offer.version): offer for offer in apt.offers(_names(pins))}
    gone = [pin for pin in pins if (pin.name, pin.architecture, pin.version) not in offers]
    taken = {pin: pin for pin in pins} | _replacements(apt, gone, settings)
    wanted = [pin for pin in taken.values() if not _is_cached(pin, cache)]
    if wanted:
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            apt.download([_as_offer(pin) for pin in wanted], Path(directory))
            for pin in wanted:
                found = list(Path(directory).glob(f"{pin.name}_*_{pin.architecture}.deb"))
                if len(found) != 1:
                    raise RecipeError(f"apt reported success for {pin} but left no file.")
                _store(pin, found[0].read_bytes(), cache)
    return taken


def _replacements(apt: Apt, gone: Sequence[Input], settings: Settings) -> dict[Input, Input]:
    """Debian's mirrors drop a version when its security update arrives: choose what the same release has now."""
    if not gone:
        return {}
    newest = _newest(apt, gone)
    for pin, offer in newest.items():
        if not apt.is_newer(offer.version, than=pin.version):
            raise RecipeError(f"{pin} is pinned, but apt has only the older {offer.version}: is the mirror stale?")
    lines = "".join(f"\n  {pin}: taken {offer.version}" for pin, offer in newest.items())
    message = f"pinned versions are gone from Debian 12's mirrors:{lines}\n  Re-pin with `make lock` in layers/pg_dump."
    if settings.strict:
        raise RecipeError(f"COFFRE_LAYER_STRICT=1 forbids newer packages, but {message}")
    say(f"WARNING: {message}")
    return {pin: _as_input(offer) for pin, offer in newest.items()}


def _newest(apt: Apt, pins: Sequence[Input]) -> dict[Input, Offer]:
    offers = {(offer.name, offer.architecture): offer for offer in apt.offers(_names(pins), newest_only=True)}
    absent = [f"{pin.name}:{pin.architecture}" for pin in pins if (pin.name, pin.architecture) not in offers]
    if absent:
        raise RecipeError(f"the apt sources offer no {', '.join(absent)} of Debian 12 (bookworm).")
    return {pin: offers[pin.name, pin.architecture] for pin in pins}


def _names(pins: Sequence[Input]) -> list[str]:
    return [f"{pin.name}:{pin.architecture}" for pin in pins]


def _as_input(offer: Offer) -> Input:
    return Input("deb", offer.name, offer.version, offer.architecture, offer.sha256)


def _as_offer(pin: Input) -> Offer:
    return Offer(pin.name, pin.architecture, pin.version, pin.sha256)


def _download_wheel(pin: Input, cache: Path) -> bytes:
    """Fetch a wheel for the target architecture with pip; a pin without hash (re-pinning) takes what the index has."""
    known = {architecture.wheel: architecture.pip_platforms for architecture in ARCHITECTURES.values()}
    platforms = known.get(pin.architecture, ())
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        requirements = Path(directory, "requirements.txt")
        hash_option = f" --hash=sha256:{pin.sha256}" if pin.sha256 else ""
        requirements.write_text(f"{pin.name}=={pin.version}{hash_option}\n", encoding="utf-8")
        options = ["--no-deps", "--only-binary", ":all:", "--implementation", "py", "--python-version", "3.13"]
        options += [part for platform in platforms for part in ("--platform", platform)]
        options += ["--require-hashes"] if pin.sha256 else []
        command = [sys.executable, "-m", "pip", "download", *options, "-r", str(requirements), "-d", directory]
        env = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise RecipeError(f"pip could not download {pin}:\n{result.stdout[-600:]}{result.stderr[-1200:]}".rstrip())
        return next(Path(directory).glob("*.whl")).read_bytes()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
