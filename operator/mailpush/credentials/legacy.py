"""OX's form up to 8.15: AES-128-CBC with PKCS #5 padding and an IV of zeros.

Its key comes from PBKDF2-HMAC-SHA1 with a fixed salt. So one password always gives one text, and whoever reads the
table sees who has the same one.
"""

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7

from mailpush.credentials.forms import BLOCK, is_text

_SALT: Final = bytes(range(16))
_ITERATIONS: Final = 1000


def legacy_key(passcrypt: str) -> bytes:
    """16 bytes; a quarter of a millisecond."""
    # OX's choice, which is its to change: this reads what it wrote.
    kdf = PBKDF2HMAC(algorithm=SHA1(), length=16, salt=_SALT, iterations=_ITERATIONS)  # noqa: S303
    return kdf.derive(passcrypt.encode())


def encrypt(key: bytes, clear: bytes) -> bytes:
    padder = PKCS7(8 * BLOCK).padder()
    return _run(_cipher(key).encryptor(), padder.update(clear) + padder.finalize())


def decrypt(key: bytes, data: bytes) -> str | None:
    """None where padding or UTF-8 are wrong.

    Nothing authenticates the text: under a wrong key one row of 255 has a valid padding, and of those with one block
    one in 6,500 is UTF-8 as well.
    """
    unpadder = PKCS7(8 * BLOCK).unpadder()
    try:
        clear = unpadder.update(_run(_cipher(key).decryptor(), data)) + unpadder.finalize()
        return clear.decode()
    except ValueError:
        return None


def begins_a_text(key: bytes, data: bytes) -> bool:
    """Whether these blocks are UTF-8 without a padding: what is left of a longer password, under the right key."""
    return is_text(_run(_cipher(key).decryptor(), data), cut=True)


def _cipher(key: bytes) -> Cipher[CBC]:
    return Cipher(AES128(key), CBC(bytes(BLOCK)))


def _run(context: CipherContext, data: bytes) -> bytes:
    return context.update(data) + context.finalize()
