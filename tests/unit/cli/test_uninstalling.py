"""Whether an installation is really being removed, as its Deployment and the Job in the cluster tell."""

from typing import Any

import pytest

from mailpush import names
from mailpush.cli.uninstalling import LAST_APPLIED, RELEASE_NAME, RELEASE_NAMESPACE, Release, being_removed

RELEASE = Release("mail-push", "mail", "mail", "mail-push")
OF_HELM = {RELEASE_NAME: "mail-push", RELEASE_NAMESPACE: "mail"}
WORD = {names.UNINSTALL_ANNOTATION: "mail-push"}
Object = dict[str, Any]


def deployment(**annotations: str) -> Object:
    return {"metadata": {"annotations": annotations}}


def job(*managers: str, **annotations: str) -> Object:
    entries = [{"manager": manager, "operation": "Update"} for manager in managers]
    status = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"}
    return {
        "metadata": {"managedFields": [*entries, status], "annotations": {"helm.sh/hook": "pre-delete", **annotations}}
    }


HELM = job("helm")
KUBECTL = job("kubectl-client-side-apply", **{LAST_APPLIED: "{}"})
PLAIN = deployment()
INSTALLED = deployment(**OF_HELM)


@pytest.mark.parametrize(
    ("found", "made", "goes", "code"),
    [
        (INSTALLED, HELM, True, 0),
        (INSTALLED, job("helm-controller"), True, 0),
        (INSTALLED, job("terraform-provider-helm_v3.1.1_x5"), True, 0),
        (None, HELM, True, 0),  # somebody has deleted the operator before
        (deployment(**OF_HELM, **WORD), job("pulumi-resource-kubernetes"), True, 0),
        (deployment(**WORD), job("argocd-controller"), True, 0),
        # `helm template | kubectl apply`, kustomize, Flux, Argo CD
        (PLAIN, KUBECTL, False, 0),
        (PLAIN, job("kustomize-controller"), False, 0),
        (PLAIN, job("argocd-controller"), False, 0),
        (None, KUBECTL, False, 0),
        (PLAIN, None, False, 0),
        # the same over what Helm has installed: nothing is done, and it fails where it cannot be told from a removal
        (INSTALLED, KUBECTL, False, 1),
        (INSTALLED, job("kubectl"), False, 1),
        (INSTALLED, job("helm", **{LAST_APPLIED: "{}"}), False, 1),
        (INSTALLED, job("helm", "kubectl-edit"), False, 1),
        (INSTALLED, job(), False, 1),
        (INSTALLED, None, False, 1),
        # another release's Deployment, or a word about another
        (deployment(**{RELEASE_NAME: "first", RELEASE_NAMESPACE: "mail"}), HELM, False, 1),
        (deployment(**{RELEASE_NAME: "mail-push", RELEASE_NAMESPACE: "other"}), HELM, False, 1),
        (deployment(**{names.UNINSTALL_ANNOTATION: "first"}), KUBECTL, False, 0),
        (PLAIN, HELM, False, 1),
    ],
)
def test_only_a_hook_of_the_release_or_a_word_about_it_counts(
    found: Object | None, made: Object | None, goes: bool, code: int
) -> None:
    answer = being_removed(RELEASE, found, made)
    assert (answer.go, answer.code) == (goes, code), answer.sentence
    if not goes:
        assert answer.sentence.startswith("nothing is done")
    if code:
        assert "kubectl -n mail annotate deployment mail-push mailpush.dev/uninstall=mail-push" in answer.sentence


@pytest.mark.parametrize("half", [("mail/mail-push", ""), ("", "mail/mail-push"), ("mail", "mail/a"), ("/a", "b/c")])
def test_half_a_release_is_refused(half: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="NAMESPACE/NAME"):
        Release.parse(*half)


def test_a_release_is_read_as_the_chart_writes_it() -> None:
    assert Release.parse("mail/mail-push", "mail/mail-push") == RELEASE
    assert Release.parse("", "") is None
    assert RELEASE.job == "mail-push-cleanup"
