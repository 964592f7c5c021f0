"""Both Helms, and what they make of the chart."""

import json
import os
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from dev.processes import run
from dev.processes.group import wait_until
from dev.programs import binaries

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "mail-push"
EXAMPLE = ROOT / "examples" / "values.yaml"

Values = dict[str, Any]
Manifest = dict[str, Any]
Major = Literal["helm4", "helm3"]
_rendered: dict[str, str] = {}
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Helm:
    """One Helm with a home of its own; values go in as a dictionary."""

    def __init__(self, major: Major, home: Path) -> None:
        self.major = major
        self._program = binaries.path(major)
        self._environment = {
            "HOME": str(home),
            **{f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")},
        }

    def run(self, *args: str | Path, values: Values | None = None) -> tuple[int, str]:
        """The exit code, and standard output or, on failure, the error."""
        done = run.quiet(
            self._program,
            *args,
            *(("--values", "-") if values is not None else ()),
            input=yaml.safe_dump(values) if values is not None else None,
            env=self._environment,
            check=False,
        )
        return done.returncode, done.stdout if done.returncode == 0 else done.stderr

    def lint(self, values: Values | None = None) -> tuple[int, str]:
        return self.run("lint", "--strict", CHART, values=values)

    def render(
        self, values: Values | None = None, *args: str | Path, release: str = "mail-push", namespace: str = "mail"
    ) -> list[Manifest]:
        """Every object, hooks included."""
        key = json.dumps([self.major, values, [str(arg) for arg in args], release, namespace], sort_keys=True)
        if key not in _rendered:
            code, text = self.run("template", release, CHART, "--namespace", namespace, *args, values=values or {})
            assert code == 0, text
            _rendered[key] = text
        return [document for document in yaml.load_all(_rendered[key], _Loader) if document]

    def refusal(self, values: Values, *args: str) -> str:
        """What Helm says when it does not render; fails the test where it does."""
        code, text = self.run("template", "mail-push", CHART, "--namespace", "mail", *args, values=values)
        assert code != 0, f"rendered although it must be refused: {values}"
        return text

    def cluster(
        self, plane: ControlPlane, namespace: str, *args: str | Path, values: Values | None = None
    ) -> tuple[int, str]:
        """A command against a cluster."""
        connection = ("--kubeconfig", plane.kubeconfig, "--namespace", namespace)
        return self.run(*args, *connection, values=values)


@pytest.fixture(params=["helm4", "helm3"])
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Helm:
    return Helm(request.param, tmp_path)


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The only object of this kind and name."""
    found = [item for item in manifests if item["kind"] == kind and item["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} times {kind} {name} among {sorted(kinds(manifests))}"
    return found[0]


def kinds(manifests: list[Manifest]) -> set[tuple[str, str]]:
    return {(item["kind"], item["metadata"]["name"]) for item in manifests}


def mail_push_config(manifests: list[Manifest]) -> Manifest | None:
    """The MailPushConfig that the Job applies, or None where there is none."""
    for item in manifests:
        if item["kind"] == "ConfigMap" and "mailpushconfig.yaml" in item["data"]:
            found: Manifest = yaml.safe_load(item["data"]["mailpushconfig.yaml"])
            return found
    return None


def allowed(plane: ControlPlane, account: str, *what: str, namespace: str) -> bool:
    done = plane.kubectl("auth", "can-i", *what, "--as", account, "--namespace", namespace)
    return done.stdout.strip() == "yes"


def wait_until_allowed(plane: ControlPlane, account: str, *what: str, namespace: str) -> None:
    """The API server's authorizer watches roles and bindings: it knows them a moment after they were made."""
    wait_until(
        lambda: allowed(plane, account, *what, namespace=namespace), f"{account} may {' '.join(what)}", timeout=120
    )


def process_environment() -> dict[str, str]:
    """This process's environment without what points to another cluster."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "MAILPUSH_", "POD_"))}
