"""Settings that are encrypted where they are, before they are handed in: no function ever sees their values."""

from __future__ import annotations

from hashlib import sha256

from coffre.model.manifest import Entry, Frame
from coffre.model.setting import Sealed, Setting, SettingFacts, unwrapped, wrapped
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.frame_cache import FrameCache
from coffre.vault.vault import Vault, check_entry


def seal_setting(value: bytes, encoder: FrameEncoder) -> tuple[bytes, Sealed]:
    """Encrypt a value to the encoder's recipients, and return what opens and checks it again."""
    inner = wrapped(value, SettingFacts())
    return encoder.encode(inner), Sealed(size=len(inner), sha256=sha256(inner).hexdigest())


def open_setting(stored: bytes, decoder: FrameDecoder) -> Setting:
    """Return a setting from its stored bytes, those that were sealed included.

    Raises
    ------
    IntegrityError
        `SETTING_DAMAGED`, `FRAME_DAMAGED`
    EncryptionError
        It was sealed to other keys than the decoder has.
    """
    setting = unwrapped(stored)
    inside = setting.facts.sealed
    if inside is None:
        return setting
    length = max(1, len(setting.value))
    frame = Frame(pack="a file that was handed in", offset=0, length=length, size=inside.size, sha256=inside.sha256)
    return unwrapped(decoder.decode(setting.value, frame))


class SettingsOpener:
    """Opens the settings of a backup. Neighbours share a frame, which is read and decrypted once."""

    def __init__(self, vault: Vault, decoder: FrameDecoder) -> None:
        self._vault = vault
        self._decoder = decoder
        self._frames = FrameCache(vault, decoder)

    def open(self, entry: Entry) -> Setting:
        """Return a setting, checked; raises what `Vault.read_entry` and `open_setting` raise."""
        if len(entry.frames) != 1:
            return open_setting(b"".join(self._vault.read_entry(entry, self._decoder)), self._decoder)
        stored = self._frames.read(entry.frames[0])[entry.start : entry.start + entry.size]
        check_entry(entry, sha256(stored).hexdigest())
        return open_setting(stored, self._decoder)
