"""What the operator's process reads in its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from mailpush.work import status_budget

LISTENER_CLUSTER_ROLE: Final = "mail-push-listener"
EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - the kubelet probes the pod's address
HEALTH_PORT: Final = 8080
SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class SettingsProblem(ValueError):  # noqa: N818 - a sentence for whoever starts the operator
    """A variable that cannot be used; the text names it."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """The operator's own settings; nothing here is about one MailPushConfig.

    Attributes:
        namespaces: whose MailPushConfigs it serves.
        image: of the listener pods, where a MailPushConfig names none.
        listener_cluster_role: what the listeners' ServiceAccounts are bound to.
        identity: what it writes as the holder of its Leases; the process adds what makes it unique.
        health_port: 0 is any free one.
        admin_port: of the admin endpoint, 0 is any free one; None where there is none.
        admin_directory: a mounted Secret with the keys `login` and `password`.
        admin_tls_directory: a mounted Secret with the keys `tls.crt` and `tls.key`; None for plain HTTP.
        status_writes: of PushUsers in a second, of the operator and all listeners.
    """

    namespaces: tuple[str, ...]
    own_namespace: str
    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    listener_cluster_role: str = LISTENER_CLUSTER_ROLE
    identity: str = "mail-push-operator"
    listen: str = EVERY_ADDRESS
    health_port: int = HEALTH_PORT
    admin_port: int | None = None
    admin_directory: Path | None = None
    admin_tls_directory: Path | None = None
    status_writes: float = status_budget.WRITES_PER_SECOND

    @classmethod
    def from_environment(cls, variables: Mapping[str, str], *, default_namespace: str = "default") -> Self:
        """Reads the `MAILPUSH_*` and `POD_*` variables.

        Raises:
            SettingsProblem: a value that cannot be used.
        """
        own = variables.get("POD_NAMESPACE") or default_namespace
        namespaces = _list(variables.get("MAILPUSH_NAMESPACES", "")) or (own,)
        image = variables.get("MAILPUSH_IMAGE", "").strip()
        if not image:
            raise SettingsProblem("MAILPUSH_IMAGE is empty: set it to the image that listener pods run")
        return cls(
            namespaces=namespaces,
            own_namespace=own,
            image=image,
            image_pull_policy=_choice(variables, "MAILPUSH_IMAGE_PULL_POLICY", ("IfNotPresent", "Always", "Never")),
            image_pull_secrets=_list(variables.get("MAILPUSH_IMAGE_PULL_SECRETS", "")),
            listener_cluster_role=variables.get("MAILPUSH_LISTENER_CLUSTER_ROLE") or LISTENER_CLUSTER_ROLE,
            identity=variables.get("POD_NAME") or os.uname().nodename,
            listen=variables.get("MAILPUSH_LISTEN") or EVERY_ADDRESS,
            health_port=_port(variables, "MAILPUSH_HEALTH_PORT", HEALTH_PORT),
            admin_port=_port(variables, "MAILPUSH_ADMIN_PORT", 0) if variables.get("MAILPUSH_ADMIN_PORT") else None,
            admin_directory=_directory(variables, "MAILPUSH_ADMIN_DIRECTORY"),
            admin_tls_directory=_directory(variables, "MAILPUSH_ADMIN_TLS_DIRECTORY"),
            status_writes=_writes(variables),
        )


def current_namespace() -> str:
    """The namespace of the pod's ServiceAccount, `default` outside of a pod."""
    try:
        return SERVICE_ACCOUNT_NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"


def _directory(variables: Mapping[str, str], name: str) -> Path | None:
    return Path(value) if (value := variables.get(name)) else None


def _list(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _choice(variables: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = variables.get(name) or choices[0]
    if value not in choices:
        raise SettingsProblem(f"{name} is {value!r}: set it to one of {', '.join(choices)}")
    return value


def _writes(variables: Mapping[str, str]) -> float:
    try:
        return status_budget.read(variables)
    except ValueError as error:
        raise SettingsProblem(str(error)) from None


def _port(variables: Mapping[str, str], name: str, default: int) -> int:
    value = variables.get(name) or str(default)
    if not value.isdecimal() or not 0 <= int(value) <= 65535:
        raise SettingsProblem(f"{name} is {value!r}: set it to a port, 0 to 65535 (0: any free one)")
    return int(value)
