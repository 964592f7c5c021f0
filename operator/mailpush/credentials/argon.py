"""Keys of OX's newer form, derived by Argon2i from the MurmurHash3 of the passcrypt.

Each is derived once, in a thread, two at a time: with OX's parameters one takes 18 ms and 15 MiB.
"""

import asyncio
import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import Final
from weakref import WeakValueDictionary

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2i

from mailpush.credentials.forms import TAG, Parameters, is_text
from mailpush.credentials.murmur import murmur3_x64_128

WORKERS: Final = 2
LARGE: Final = 64 * 1024
"""KiB: keys that need more are derived one after the other."""
MAX_KEYS: Final = 32 * 1024
"""Keys that are kept, some 300 bytes each. Each row that OX wrote has a key of its own, all of ours have one."""
MAX_READY: Final = 16
"""Of those in use ciphers are kept ready, which halves the time of a decryption."""

_Wanted = tuple[bytes, Parameters]
"""What a key is derived from."""


def secret_of(passcrypt: str) -> bytes:
    """What Argon2 takes for the password."""
    return murmur3_x64_128(passcrypt.encode()).hex().encode()


class Key:
    """An AES-256 key, ready for use: `encrypt` and `decrypt` are AESGCM's, which raises InvalidTag."""

    __slots__ = ("_bytes", "decrypt", "encrypt")

    def __init__(self, key: bytes) -> None:
        self._bytes = key
        cipher = AESGCM(key)
        self.encrypt = cipher.encrypt
        self.decrypt = cipher.decrypt

    def begins_a_text(self, iv: bytes, data: bytes) -> bool:
        """Whether it is UTF-8 but for its end: what is left of a longer password, of which the tag is gone.

        Nothing authenticates that, so it serves to say why a row is of no use, and for nothing else.
        """
        decryptor = Cipher(AES256(self._bytes), GCM(iv)).decryptor()
        return is_text(decryptor.update(data[:-TAG]), cut=True)


class Keys:
    """The keys of some passcrypts, each derived when it is first needed, whoever waits for it."""

    def __init__(self) -> None:
        self.derivations = 0
        self._keys: OrderedDict[_Wanted, bytes] = OrderedDict()
        self._ready: OrderedDict[_Wanted, Key] = OrderedDict()
        self._one_by_one: WeakValueDictionary[_Wanted, asyncio.Lock] = WeakValueDictionary()
        self._large = asyncio.Lock()

    async def get(self, secret: bytes, parameters: Parameters) -> Key | None:
        """None where the memory for it is not to be had. The parameters are within the limits."""
        wanted = (secret, parameters)
        if found := self._ready.get(wanted):
            return found
        key = self._known(wanted) or await self._derive(wanted)
        if key is None:
            return None
        self._ready[wanted] = made = Key(key)
        if len(self._ready) > MAX_READY:
            self._ready.popitem(last=False)
        return made

    def _known(self, wanted: _Wanted) -> bytes | None:
        if key := self._keys.get(wanted):
            self._keys.move_to_end(wanted)
        return key

    async def _derive(self, wanted: _Wanted) -> bytes | None:
        lock = self._one_by_one.get(wanted)
        if lock is None:
            lock = self._one_by_one[wanted] = asyncio.Lock()
        async with AsyncExitStack() as held:
            await held.enter_async_context(lock)
            if key := self._known(wanted):
                return key
            if wanted[1].memory > LARGE:
                await held.enter_async_context(self._large)
            self.derivations += 1
            key = await asyncio.get_running_loop().run_in_executor(_workers, _derived, *wanted)
            if key is not None:
                self._keys[wanted] = key
                if len(self._keys) > MAX_KEYS:
                    self._keys.popitem(last=False)
            return key


def _derived(secret: bytes, parameters: Parameters) -> bytes | None:
    salt, memory, iterations, lanes = parameters
    try:
        kdf = Argon2i(salt=salt, length=32, iterations=iterations, lanes=lanes, memory_cost=memory)
        return kdf.derive(secret)
    except MemoryError:
        return None


def _yield_to_others() -> None:
    """A pod with a table of OX derives for minutes; mails come first."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


_workers: Final = ThreadPoolExecutor(WORKERS, "argon", _yield_to_others)
