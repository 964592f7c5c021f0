"""A MailPushConfig of a cluster and what the operator has rendered of it, with the rights of whoever asks."""

from dataclasses import dataclass, field
from pathlib import Path

from mailpush import names
from mailpush.cli.kubectl.cluster import ask
from mailpush.cli.kubectl.kubeconfig import files_of, namespace_of
from mailpush.cli.kubectl.manifests import Object, Trouble
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ForbiddenError, NotFoundError
from mailpush.kube.secrets import text_of

Files = dict[str, str]


@dataclass(frozen=True, slots=True)
class Installation:
    """A MailPushConfig as it is in a cluster.

    Attributes:
        running: the files of its ConfigMap; None where there is none yet.
        readable: False where whoever asks may not read ConfigMaps; then `running` is None, too.
        secret_files: those of its Secret; None where they were not asked for.
    """

    document: Object
    running: Files | None
    readable: bool
    secret_files: Files | None = field(default=None, repr=False)


def installation(
    name: str, *, with_secrets: bool, namespace: str | None, kubeconfig: str | None, context: str | None
) -> Installation:
    """What there is of a MailPushConfig. Its Secret is only asked for `with_secrets`.

    Raises:
        Trouble: no cluster, no such MailPushConfig, or no right to read it.
    """
    chosen = namespace or namespace_of(files_of(kubeconfig), context)
    return ask(
        _read(Path(kubeconfig) if kubeconfig else None, context, chosen, name, with_secrets),
        without="render a file: -f",
    )


async def _read(
    kubeconfig: Path | None, context: str | None, namespace: str, name: str, with_secrets: bool
) -> Installation:
    async with await Kube.connect(kubeconfig, context=context) as kube:
        try:
            document = await kube.get(resources.MAIL_PUSH_CONFIG, namespace, name)
        except NotFoundError:
            raise Trouble(await _others(kube, namespace, name)) from None
        running: Files | None = None
        readable = True
        try:
            config_map = await kube.get(resources.CONFIG_MAP, namespace, names.properties_configmap_name(name))
            running = dict(config_map.get("data") or {})
        except NotFoundError:
            pass
        except ForbiddenError:
            readable = False
        if not with_secrets:
            return Installation(document, running, readable)
        try:
            secret = await kube.get(resources.SECRET, namespace, names.secrets_name(name))
        except NotFoundError:
            raise Trouble(f"there is no Secret {names.secrets_name(name)}: the operator has not made it yet") from None
        return Installation(document, running, readable, _secret_files(secret))


async def _others(kube: Kube, namespace: str, name: str) -> str:
    try:
        items, _ = await kube.list(resources.MAIL_PUSH_CONFIG, namespace)
    except NotFoundError:
        return (
            "this cluster does not know MailPushConfigs: install Mail Push's CustomResourceDefinitions "
            "(docs/install.md), or choose another cluster with --context"
        )
    known = ", ".join(sorted(item["metadata"]["name"] for item in items)) or "none"
    return f"there is no MailPushConfig {name} in namespace {namespace} (there: {known}; another namespace: -n)"


def _secret_files(secret: Object) -> Files:
    key = names.SECRET_PROPERTIES
    if key not in (secret.get("data") or {}):
        return {}
    text = text_of(secret, key)
    if text is None or not text.isascii():
        raise Trouble(f"{key} of Secret {secret['metadata']['name']} is no text")
    return {key: text}
