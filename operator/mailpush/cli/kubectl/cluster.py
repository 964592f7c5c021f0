"""Asks a cluster something, with the rights of whoever asks, and says in a sentence what stands in the way."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import yaml
from kubernetes.aio.config import ConfigException

from mailpush.cli.kubectl.manifests import Object, Trouble
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ForbiddenError, KubeError, NotFoundError, UnreachableError

Answer = TypeVar("Answer")


def ask(question: Coroutine[Any, Any, Answer], *, without: str) -> Answer:
    """The answer.

    Args:
        without: how to do without a cluster, for somebody who has none.

    Raises:
        Trouble: no cluster, or no right to read what is asked for; and what the question itself raises.
    """
    try:
        return asyncio.run(question)
    except ConfigException as error:
        raise Trouble(f"no cluster is known: {error}; see --kubeconfig and --context, or {without}") from None
    except (OSError, yaml.YAMLError) as error:
        raise Trouble(f"the kubeconfig cannot be read: {error}") from None
    except UnreachableError as error:
        raise Trouble(f"the API server does not answer: {error}") from None
    except ForbiddenError as error:
        raise Trouble(f"you may not ask for this: {error.message}") from None
    except KubeError as error:
        raise Trouble(f"the API server refuses: {error}") from None


async def chosen_config(kube: Kube, namespace: str, name: str | None, *, by: str) -> Object:
    """The MailPushConfig of this name, or the only one of the namespace where none is named.

    Args:
        by: how one is named, for whoever has to.

    Raises:
        Trouble: there is none, or there are several.
    """
    if name is not None:
        found = await kube.find(resources.MAIL_PUSH_CONFIG, namespace, name)
        if found is None:
            raise Trouble(f"there is no MailPushConfig {name} in namespace {namespace} (another namespace: -n)")
        return found
    try:
        items, _ = await kube.list(resources.MAIL_PUSH_CONFIG, namespace)
    except NotFoundError:
        raise Trouble("this cluster does not know MailPushConfigs: choose another with --context") from None
    if len(items) != 1:
        known = ", ".join(sorted(item["metadata"]["name"] for item in items))
        raise Trouble(
            f"namespace {namespace} has several MailPushConfigs ({known}): name one {by}"
            if items
            else f"there is no MailPushConfig in namespace {namespace} (another namespace: -n)"
        )
    return items[0]
