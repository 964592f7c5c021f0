"""Secrets and their values, read by name."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import NotFoundError


async def get_secret(kube: Kube, namespace: str, name: str) -> dict[str, Any] | None:
    """A Secret, None where there is none.

    Always from the API: a copy of all Secrets in memory is one more to guard.
    """
    try:
        return await kube.get(resources.SECRET, namespace, name)
    except NotFoundError:
        return None


def value_of(secret: Mapping[str, Any], key: str) -> bytes | None:
    """The value of a key, None where it is missing or no base64."""
    data = secret.get("data") or {}
    try:
        return base64.b64decode(data[key], validate=True)
    except (KeyError, binascii.Error, TypeError):
        return None


def text_of(value: bytes | None) -> str | None:
    """The value as text, None where it is missing or no UTF-8."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
