"""Kubeconfig files as text: JSON, which every reader of YAML takes."""

import base64
import json
from pathlib import Path

from dev.cluster.pki import Pair


def with_certificate(server: str, authority: bytes, user: Pair, namespace: str = "default") -> str:
    """For a client certificate; `authority` is the server's CA in PEM."""
    return _text(
        server,
        authority,
        {"client-certificate-data": _base64(user.certificate), "client-key-data": _base64(user.key)},
        namespace,
    )


def with_token(server: str, authority: bytes, token: str, namespace: str) -> str:
    """For a bearer token."""
    return _text(server, authority, {"token": token}, namespace)


def write(path: Path, text: str) -> Path:
    """Writes it where only its owner can read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
    return path


def _text(server: str, authority: bytes, user: dict[str, str], namespace: str) -> str:
    name = "mail-push"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": name, "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
            ],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
            "current-context": name,
        },
        indent=1,
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
