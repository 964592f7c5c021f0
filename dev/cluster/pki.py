"""Certificate authorities for tests and the local cluster, by trustme: elliptic-curve keys, made in milliseconds."""

from dataclasses import dataclass
from typing import Self

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = b""

    def __repr__(self) -> str:
        return "Pair(...)"  # a key must not end up in a test's output


class Authority:
    """Signs certificates for client and server."""

    def __init__(self, ca: trustme.CA) -> None:
        self._ca = ca

    @classmethod
    def new(cls, name: str) -> Self:
        return cls(trustme.CA(organization_unit_name=name))

    @property
    def pair(self) -> Pair:
        """Its own certificate and key: Kubernetes' controller-manager signs with them."""
        return Pair(self._ca.cert_pem.bytes(), self._ca.private_key_pem.bytes())

    def issue(self, common_name: str, *, organization: str | None = None, names: tuple[str, ...] = ()) -> Pair:
        """A certificate and its key.

        Args:
            common_name: to Kubernetes, the user of a client certificate.
            organization: to Kubernetes, a group of that user; default: trustme's own, which has no rights.
            names: the IP addresses and DNS names of a server.
        """
        # trustme marks the names as critical, and Go refuses a certificate whose critical list of them is empty.
        cert = self._ca.issue_cert(
            *names or ("client.invalid",), common_name=common_name, organization_name=organization
        )
        return Pair(cert.cert_chain_pems[0].bytes(), cert.private_key_pem.bytes())


def signing_pair() -> Pair:
    """A public key in the place of the certificate, and its private key: what signs the tokens of ServiceAccounts."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return Pair(public, private)
