"""Hashes that identify a configuration to operator and pods: 16 hexadecimal digits each."""

import hashlib
import hmac
import json
from collections.abc import Mapping


def content_hash(files: Mapping[str, str]) -> str:
    """16 hexadecimal digits that differ whenever a file's name or text does. Not for secrets."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:16]


def config_hash_of(files: Mapping[str, str], secrets_hash: str) -> str:
    """The hash of a configuration: of the files of its ConfigMap and of the hash of its secrets.

    A listener compares it with the annotation on the ConfigMap that it got, so that it never runs half of a change.
    """
    return content_hash({**files, "": secrets_hash})


def keyed_hash(files: Mapping[str, str], key: bytes) -> str:
    """The hash of files with secrets, 16 hexadecimal digits. A listener makes it too, of the Secret that it got.

    Raises:
        ValueError: `key` is empty.
    """
    if not key:
        raise ValueError("the hash of secrets needs a key")
    return hmac.new(key, json.dumps(sorted(files.items())).encode(), hashlib.sha256).hexdigest()[:16]
