"""Whose cluster is used: the machine's own (`native`), or one of a context that the user names (`current`).

`current` is how kind, k3d and real clusters are served. Nothing in it is touched unless it was named: there is no
falling back to whatever context happens to be current.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from dev.processes import run
from dev.processes.errors import DevError
from dev.programs import binaries

Provider = Literal["native", "current"]


class Kubernetes(Protocol):
    """What both providers offer: a kubeconfig whose current context is the cluster, and kubectl on it."""

    kubeconfig: Path

    def kubectl(
        self, *args: str, input: str | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[str]: ...


def provider(context: str | None = None, environment: dict[str, str] | None = None) -> Provider:
    """`MAILPUSH_DEV_PROVIDER`, by default `native`; naming a context means `current`.

    Raises:
        DevError: an unknown provider, or `current` without a context.
    """
    chosen = (os.environ if environment is None else environment).get("MAILPUSH_DEV_PROVIDER")
    match chosen:
        case None | "" | "native" if not context:
            return "native"
        case None | "" | "current" if context:
            return "current"
        case "current":
            raise DevError("the provider `current` touches only a cluster that is named: add --context NAME")
        case "native":
            raise DevError(f"MAILPUSH_DEV_PROVIDER is native and --context is {context}: take one of them away")
        case _:
            raise DevError(f"MAILPUSH_DEV_PROVIDER is {chosen!r}: it may be native or current")


@dataclass
class CurrentCluster:
    """A cluster of the user's kubeconfig, by its context's name; `kubeconfig` is a copy that holds only that one."""

    context: str
    kubeconfig: Path

    @classmethod
    def of(cls, context: str, folder: Path) -> "CurrentCluster":
        """Reads the user's kubeconfig (`KUBECONFIG` or the usual place) and writes the copy into `folder`.

        Raises:
            DevError: there is no such context.
        """
        kubectl = binaries.path("kubectl")
        view = ("config", "view", "--raw", "--flatten", "--minify", "--output=json", f"--context={context}")
        done = run.quiet(kubectl, *view, check=False)
        if done.returncode:
            names = run.quiet(kubectl, "config", "get-contexts", "--output=name", check=False).stdout.split()
            raise DevError(f"no context {context!r} in your kubeconfig; it has: {', '.join(names) or 'none'}")
        config = json.loads(done.stdout)
        config["current-context"] = context
        target = folder / "kubeconfig"
        target.touch(mode=0o600)
        target.write_text(json.dumps(config))
        return cls(context, target)

    def kubectl(self, *args: str, input: str | None = None, check: bool = False) -> subprocess.CompletedProcess[str]:
        """kubectl on that cluster; as subprocess.run, it raises only with `check`."""
        return run.quiet(
            binaries.path("kubectl"), *args, input=input, check=check, env={"KUBECONFIG": str(self.kubeconfig)}
        )
