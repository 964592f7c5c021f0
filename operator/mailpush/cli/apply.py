"""`mail-push apply`: MailPushConfigs, strictly, once their CRD is served."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.aio.config import ConfigException

from mailpush import names
from mailpush.cli.yamlfiles import load_all
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError, KubeError, NotFoundError, UnreachableError

MANAGER: Final = "mail-push-apply"
"""The field manager of what this command applies; by it `mail-push cleanup` knows it again."""
SCALER: Final = "mail-push-apply-scaled"
"""The field manager that the number of pods is handed to until an autoscaler has changed it."""
RETRY_SECONDS: Final = 1.0
BUSY: Final = frozenset({429, 502, 503, 504})


HELM: Final = "Helm"


class AnothersError(KubeError):
    """The MailPushConfig belongs to another release."""

    def __init__(self, release: str | None) -> None:
        super().__init__(
            0,
            "Another",
            f"it belongs to the Helm release {release}: install into another namespace; where that release "
            f"is gone, take the label {names.INSTANCE_LABEL} off the MailPushConfig",
        )


def run(filename: str, namespace: str, wait_seconds: int, *, autoscaled: bool = False) -> int:
    """The exit code: 1 with the server's sentence where a document is refused, or the CRD does not come.

    `autoscaled`: an autoscaler sets the number of pods, so it stays as it is where a document does not have it.
    """
    try:
        documents = read(Path(filename))
    except (OSError, ValueError, yaml.YAMLError) as error:
        sys.stderr.write(f"mail-push apply: {filename}: {error}\n")
        return 1
    try:
        return asyncio.run(_apply(documents, namespace, wait_seconds, autoscaled))
    except (KubeError, ConfigException) as error:
        sys.stderr.write(f"mail-push apply: {error}\n")
        return 1


def read(path: Path) -> list[dict[str, Any]]:
    """The MailPushConfigs of a YAML file.

    Raises:
        ValueError: another kind of object, or none at all.
    """
    documents = [document for document in load_all(path.read_text()) if document is not None]
    if not documents:
        raise ValueError("there is no document in it")
    expected = resources.MAIL_PUSH_CONFIG
    for document in documents:
        if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != (
            expected.api_version,
            expected.kind,
        ):
            raise ValueError(f"every document must be a {expected.kind} of {expected.api_version}")
        if not isinstance(document.get("metadata"), dict) or not document["metadata"].get("name"):
            raise ValueError("every document needs metadata.name")
    return documents


async def _apply(documents: list[dict[str, Any]], namespace: str, wait_seconds: float, autoscaled: bool) -> int:
    kubeconfig = os.environ.get("KUBECONFIG")
    end = time.monotonic() + wait_seconds
    async with await Kube.connect(Path(kubeconfig) if kubeconfig else None) as kube:
        for document in documents:
            document["metadata"]["namespace"] = namespace
            name = document["metadata"]["name"]
            try:
                await _apply_one(kube, document, namespace, end, autoscaled)
            except NotFoundError as error:
                sys.stderr.write(
                    f"mail-push apply: {error.message}: the namespace {namespace} or the CustomResourceDefinition "
                    f"{resources.MAIL_PUSH_CONFIG.plural}.mailpush.dev is not there after {wait_seconds:.0f} s; "
                    "install the CRDs (the chart does with crds.install=true)\n"
                )
                return 1
            except KubeError as error:
                sys.stderr.write(f'mail-push apply: MailPushConfig "{name}" is refused: {error.message}\n')
                return 1
            sys.stdout.write(f"mailpushconfig.mailpush.dev/{name} applied\n")
        await _register_again(kube, namespace, {instance_of(document) for document in documents} | {None})
    return 0


async def _register_again(kube: Kube, namespace: str, releases: set[str | None]) -> None:
    """Takes off what an uninstall has left on MailPushConfigs that the chart did not make (`mail-push cleanup`)."""
    configs, _ = await kube.list(resources.MAIL_PUSH_CONFIG, namespace)
    for config in configs:
        metadata = config["metadata"]
        left = (metadata.get("annotations") or {}).get(names.UNREGISTER_ANNOTATION) == names.UNREGISTER_UNINSTALLED
        if left and instance_of(config) in releases:
            off = {"metadata": {"annotations": {names.UNREGISTER_ANNOTATION: None}}}
            await kube.merge_patch(resources.MAIL_PUSH_CONFIG, namespace, metadata["name"], off)
            sys.stdout.write(f"mailpushconfig.mailpush.dev/{metadata['name']} is listened for again\n")


def instance_of(found: dict[str, Any]) -> str | None:
    """The Helm release that an object says it belongs to."""
    labels = found["metadata"].get("labels") or {}
    return labels.get(names.INSTANCE_LABEL) if labels.get(names.MANAGED_BY_LABEL) == HELM else None


def replicas_to_hand_over(document: dict[str, Any], found: dict[str, Any] | None) -> int | None:
    """The number of pods that applying `document` would set back to the default, as only this command has set it.

    What server-side apply's only owner leaves out is removed: an autoscaler that has just been switched on would find
    two pods where there were ten, and their users would move twice.
    """
    wanted = (document.get("spec") or {}).get("listeners") or {}
    if found is None or "replicas" in wanted:
        return None
    for entry in found["metadata"].get("managedFields") or ():
        spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        if entry.get("manager") == MANAGER and "f:replicas" in (spec.get("f:listeners") or {}):
            replicas: int = found["spec"]["listeners"]["replicas"]
            return replicas
    return None


async def _apply_one(kube: Kube, document: dict[str, Any], namespace: str, end: float, autoscaled: bool) -> None:
    announced = False
    while True:
        try:
            found = await kube.find(resources.MAIL_PUSH_CONFIG, namespace, document["metadata"]["name"])
            ours, theirs = instance_of(document), instance_of(found) if found is not None else None
            if ours is not None and theirs not in (None, ours):
                raise AnothersError(theirs)
            if autoscaled and (replicas := replicas_to_hand_over(document, found)) is not None:
                scaled = {
                    "metadata": {"name": document["metadata"]["name"]},
                    "spec": {"listeners": {"replicas": replicas}},
                }
                await kube.apply(resources.MAIL_PUSH_CONFIG, namespace, scaled, manager=SCALER)
            await kube.apply(resources.MAIL_PUSH_CONFIG, namespace, document, manager=MANAGER, strict=True)
            return
        except (NotFoundError, UnreachableError, ConflictError) as error:
            last: KubeError = error
        except KubeError as error:
            if error.status not in BUSY:
                raise
            last = error
        if time.monotonic() >= end:
            raise last
        if not announced:
            sys.stderr.write(f"mail-push apply: waiting: {last.message}\n")
            announced = True
        await asyncio.sleep(RETRY_SECONDS)
