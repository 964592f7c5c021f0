"""The chart's Jobs as real pods: the page's own block alone, and an uninstall that leaves no registration behind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import yaml

from dev.cluster import nodes
from dev.demo.site import NAMESPACE, Site, listening, wait_for
from dev.demo.users import DemoUser, manifests_of
from dev.images import image as images
from dev.images import project
from dev.processes import run
from dev.programs import binaries
from tests.cluster.conftest import ROOT
from tests.sites.mail import condition

pytestmark = pytest.mark.nodes

PAGE = "core-mw:\n  packages:\n    status:\n      open-xchange-push-dovecot: enabled\n"
USERS = (DemoUser("main", 3), DemoUser("main", 4))


@pytest.fixture(scope="module")
def cluster() -> Iterator[nodes.Cluster]:
    with nodes.Cluster.up(1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def image(cluster: nodes.Cluster) -> images.Image:
    image = project.build()
    cluster.load_images(image)
    return image


def helm(cluster: nodes.Cluster, program: Literal["helm3", "helm4"], *args: str, values: Path | None = None) -> str:
    more = ("--values", str(values)) if values else ()
    environment = {"KUBECONFIG": str(cluster.kubeconfig)}
    return run.quiet(binaries.path(program), *args, *more, env=environment).stdout


def crds(cluster: nodes.Cluster) -> tuple[str, ...]:
    """What a release has to say of the CRDs: the first one of the cluster brings them, and they stay."""
    found = cluster.kubectl("get", "crd", "pushusers.mailpush.dev", "--ignore-not-found", "-o", "name", check=True)
    return ("--set", "crds.install=false") if found.stdout.strip() else ()


@pytest.mark.parametrize("program", ["helm3", "helm4"])
def test_the_page_s_block_alone_installs_and_says_which_values_to_add(
    cluster: nodes.Cluster, image: images.Image, program: Literal["helm3", "helm4"], tmp_path: Path
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(PAGE)
    own = yaml.safe_dump(
        {
            "image": {
                "registry": "docker.io",
                "repository": "mail-push/mail-push",
                "tag": image.tag,
                "pullPolicy": "Never",
            }
        }
    )
    overlay = tmp_path / "image.yaml"
    overlay.write_text(own)
    namespace = f"page-{program}"
    place = ("mail-push", str(ROOT / "charts" / "mail-push"), "-n", namespace, "--create-namespace")
    helm(cluster, program, "install", *place, "--wait", "--values", str(overlay), *crds(cluster), values=values)

    def says() -> bool:
        config = json.loads(cluster.kubectl("-n", namespace, "get", "mpc", "main", "-o", "json", check=True).stdout)
        status = config.get("status", {})
        ready = next(
            (one for one in status.get("conditions", []) if one["type"] == "Ready"), {"reason": "", "message": ""}
        )
        return (
            condition(status, "Ready") == "False"
            and ready["reason"] == "MailAccessMissing"
            and "mailAccess.servers" in ready["message"]
            and "mailAccess.passwordSource" in ready["message"]
        )

    wait_for("MailAccessMissing and the two values", says)
    helm(cluster, program, "uninstall", "mail-push", "-n", namespace, "--wait")

    def gone() -> bool:  # Kubernetes collects what the MailPushConfig owned in its own time
        kinds = "mpc,statefulset,deployment"
        return cluster.kubectl("-n", namespace, "get", kinds, "-o", "name", check=True).stdout.strip() == ""

    wait_for("nothing of it is left", gone)


def test_an_uninstall_unregisters_everybody_and_a_new_install_finds_them_again(
    cluster: nodes.Cluster, image: images.Image
) -> None:
    site = Site(cluster)
    testbed = images.testbed()
    cluster.load_images(testbed)
    site.prepare(testbed.reference)
    site.install(image.reference, *crds(cluster))
    for deployment in ("redis", "webhook-receiver", "dovecot"):
        site.ready(deployment)
    site.kubectl("apply", "-f", "-", input=manifests_of(USERS))

    def registered() -> list[str]:
        return site.kubectl(
            "exec", "deploy/dovecot", "--", "sh", "-c", "cat /srv/attributes/* | grep -c ^user= || true"
        ).split()

    wait_for("both are registered", lambda: all(map(listening, site.push_users().values())) and registered() == ["2"])
    helm(cluster, "helm4", "uninstall", "mail-push", "-n", NAMESPACE, "--wait")
    # The pre-delete Job has waited for both of these, so there is nothing to wait for here.
    assert registered() == ["0"]
    users = site.push_users()
    assert len(users) == 2
    assert not any(user["metadata"].get("finalizers") for user in users.values())

    site.install(image.reference, *crds(cluster), release="another-name")
    wait_for(
        "both are registered again",
        lambda: all(map(listening, site.push_users().values())) and registered() == ["2"],
    )
