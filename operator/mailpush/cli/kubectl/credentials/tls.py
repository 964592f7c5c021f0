"""Whom a client trusts."""

import ssl
from pathlib import Path
from typing import Final

from mailpush.cli.kubectl.manifests import Trouble

_END: Final = "-----END CERTIFICATE-----"


def pinned(certificates: str, where: str) -> ssl.SSLContext:
    """Trusts the first certificate of a PEM text and nothing else, whatever its name: the server is to have its key.

    Raises:
        Trouble: there is none. `where` names the place for it.
    """
    own, end, _ = certificates.partition(_END)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # a forwarded port has no name
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=own + end)
    except (ssl.SSLError, ValueError):
        raise Trouble(f"{where} holds no certificate in PEM") from None
    return context


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Trusts the authorities of a PEM file, or the system's.

    Raises:
        Trouble: the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()) if ca_file else None)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "no certificate in PEM"
        raise Trouble(f"{ca_file} cannot be read: {reason}") from None
