"""Basic authentication (RFC 7617), checked in a time that says nothing about what is right."""

import base64
import binascii
import hashlib
import hmac


def authorized(header: str | None, login: str, password: str) -> bool:
    """Whether the `Authorization` header is that of `login` and `password`. Where either is empty it never is."""
    scheme, _, encoded = (header or "").partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        given = b""
    given_login, _, given_password = given.partition(b":")
    same_login = _same(given_login, login.encode())
    same_password = _same(given_password, password.encode())
    return same_login & same_password & bool(login) & bool(password)


def _same(given: bytes, wanted: bytes) -> bool:
    # Of hashes, since compare_digest tells lengths apart.
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(wanted).digest())
