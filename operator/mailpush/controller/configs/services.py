"""The Services of a MailPushConfig: where Dovecot calls, where a login hook does, and where pods reach each other."""

from mailpush import names
from mailpush.controller.owner import Manifest, Owner


def callback_service(owner: Owner) -> Manifest:
    """Where Dovecot's OX driver sends its events to.

    The Service selects on one label more than the StatefulSet: a dead node's pods stay endpoints for 45 s and more,
    and each callback that goes to them holds a mail's delivery; so the operator takes the label off them before.
    It outlives the MailPushConfig, as the callback's Secret does: Dovecot keeps the address that it has looked up for
    half an hour (its http-client's dns_ttl), and would hold deliveries up for one that nobody has any more, also once
    another MailPushConfig of the name is there.
    """
    return {
        "metadata": owner.metadata(names.callback_service_name(owner.name), kept=True),
        "spec": {
            "type": "ClusterIP",
            "selector": {**names.listener_selector(owner.name), names.CALLBACK_LABEL: names.CALLBACK_OPEN},
            "ports": [_port("callback", names.CALLBACK_PORT)],
        },
    }


def credentials_service(owner: Owner) -> Manifest:
    """Where a login hook puts passwords: the admin port of any pod that is ready, as each takes them for all users."""
    return {
        "metadata": owner.metadata(names.credentials_service_name(owner.name)),
        "spec": {
            "type": "ClusterIP",
            "selector": names.listener_selector(owner.name),
            "ports": [_port("admin", names.ADMIN_PORT)],
        },
    }


def headless_service(owner: Owner) -> Manifest:
    """Gives each pod a DNS name, also while it is not ready: a pod that starts or ends still hands over events."""
    return {
        "metadata": owner.metadata(names.headless_service_name(owner.name)),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": names.listener_selector(owner.name),
            "ports": [_port("internal", names.INTERNAL_PORT)],
        },
    }


def _port(name: str, number: int) -> Manifest:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP"}
