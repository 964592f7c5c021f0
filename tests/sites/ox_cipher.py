"""OX's two forms once more, by other libraries than the product's: argon2-cffi, mmh3 and PyCryptodome."""

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass

import mmh3
from argon2.low_level import Type, hash_secret_raw
from Crypto.Cipher import AES
from Crypto.Util.Padding import pad, unpad


@dataclass(frozen=True)
class Costs:
    """OX's defaults."""

    memory: int = 15360
    iterations: int = 2
    lanes: int = 1


def argon_key(passcrypt: bytes, salt: bytes, costs: Costs) -> bytes:
    secret = mmh3.hash_bytes(passcrypt, 0, True).hex().encode()
    return hash_secret_raw(secret, salt, costs.iterations, costs.memory, costs.lanes, 32, Type.I, 19)


def write_argon(passcrypt: bytes, clear: str, iv: bytes, salt: bytes, costs: Costs) -> str:
    cipher = AES.new(argon_key(passcrypt, salt, costs), AES.MODE_GCM, nonce=iv, mac_len=16)
    data = b"".join(cipher.encrypt_and_digest(clear.encode()))
    numbers = map(str, (costs.memory, costs.iterations, costs.lanes))
    return "$".join([b64encode(iv).decode(), b64encode(salt).decode(), *numbers, b64encode(data).decode()])


def read_argon(passcrypt: bytes, stored: str) -> str:
    iv, salt, memory, iterations, lanes, data = stored.split("$")
    key = argon_key(passcrypt, b64decode(salt), Costs(int(memory), int(iterations), int(lanes)))
    both = b64decode(data)
    return AES.new(key, AES.MODE_GCM, nonce=b64decode(iv)).decrypt_and_verify(both[:-16], both[-16:]).decode()


def legacy_key(passcrypt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha1", passcrypt, bytes(range(16)), 1000, 16)


def write_legacy(passcrypt: bytes, clear: str) -> str:
    cipher = AES.new(legacy_key(passcrypt), AES.MODE_CBC, iv=bytes(16))
    return b64encode(cipher.encrypt(pad(clear.encode(), 16))).decode()


def read_legacy(passcrypt: bytes, stored: str) -> str:
    cipher = AES.new(legacy_key(passcrypt), AES.MODE_CBC, iv=bytes(16))
    return unpad(cipher.decrypt(b64decode(stored)), 16).decode()
