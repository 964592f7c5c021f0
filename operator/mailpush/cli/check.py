"""`mail-push check`: whether the MailPushConfigs of a namespace are ready, as `helm test` asks."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

from kubernetes.aio.config import ConfigException

from mailpush.kube import resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import KubeError

LOOK_SECONDS: Final = 1.0


def run(namespace: str, wait_seconds: int) -> int:
    """The exit code: 0 once each of them is ready, 1 where one is not in time, or there is none."""
    try:
        return asyncio.run(_check(namespace, wait_seconds))
    except (KubeError, ConfigException) as error:
        sys.stderr.write(f"mail-push check: {error}\n")
        return 1


async def _check(namespace: str, wait_seconds: float) -> int:
    kubeconfig = os.environ.get("KUBECONFIG")
    end = time.monotonic() + wait_seconds
    async with await Kube.connect(Path(kubeconfig) if kubeconfig else None) as kube:
        while True:
            configs, _ = await kube.list(resources.MAIL_PUSH_CONFIG, namespace)
            verdicts = {config["metadata"]["name"]: verdict(config) for config in configs}
            if (verdicts and all(ready for ready, _ in verdicts.values())) or time.monotonic() >= end:
                break
            await asyncio.sleep(LOOK_SECONDS)
    for name, (_, text) in sorted(verdicts.items()):
        sys.stdout.write(f"mailpushconfig.mailpush.dev/{name}: {text}\n")
    if not verdicts:
        sys.stderr.write(f"mail-push check: there is no MailPushConfig in the namespace {namespace}\n")
    return 0 if verdicts and all(ready for ready, _ in verdicts.values()) else 1


def verdict(config: Object) -> tuple[bool, str]:
    """Whether a MailPushConfig is ready as it is now, and what its condition says."""
    generation = config["metadata"].get("generation", 0)
    for condition in (config.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition.get("observedGeneration", 0) >= generation:
            said = f"Ready={condition['status']} {condition.get('reason', '')}: {condition.get('message', '')}"
            return condition["status"] == "True", said
    return False, "the operator has not looked at it yet"
