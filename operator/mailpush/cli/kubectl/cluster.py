"""Asks a cluster something, with the rights of whoever asks, and says in a sentence what stands in the way."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import yaml
from kubernetes.aio.config import ConfigException

from mailpush.cli.kubectl.manifests import Trouble
from mailpush.kube.errors import ForbiddenError, KubeError, UnreachableError

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
