"""An autoscaler of the listener pods: it sets their number, and nobody else does."""

import pytest

from tests.chart.conftest import Helm, Values, kinds, mail_push_config, one

PAGE: Values = {"core-mw": {"packages": {"status": {"open-xchange-push-dovecot": "enabled"}}}}


def values(**autoscaling: object) -> Values:
    spec = {"listeners": {"replicas": 5, "logLevel": "debug"}}
    return {
        **PAGE,
        "mailPushConfig": {"name": "site", "spec": spec},
        "autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 80, **autoscaling},
    }


def test_its_target_is_the_mail_push_config_which_then_has_no_number_of_pods(helm: Helm) -> None:
    manifests = helm.render(values(minReplicas=3, maxReplicas=9))
    found = one(manifests, "HorizontalPodAutoscaler", "mail-push")["spec"]
    target = {"apiVersion": "mailpush.dev/v1alpha1", "kind": "MailPushConfig", "name": "site"}
    assert (found["scaleTargetRef"], found["minReplicas"], found["maxReplicas"]) == (target, 3, 9)
    assert [metric["resource"]["name"] for metric in found["metrics"]] == ["cpu"]
    config = mail_push_config(manifests)
    assert config is not None
    assert config["spec"]["listeners"] == {"logLevel": "debug"}


@pytest.mark.parametrize(("enabled", "flag"), [(True, ["--autoscaled"]), (False, [])])
def test_the_job_that_applies_it_is_told(helm: Helm, enabled: bool, flag: list[str]) -> None:
    job = one(helm.render(values(enabled=enabled)), "Job", "mail-push-apply")
    args = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [argument for argument in args if argument == "--autoscaled"] == flag


def test_without_it_the_number_of_pods_is_the_one_of_the_values(helm: Helm) -> None:
    manifests = helm.render(values(enabled=False))
    config = mail_push_config(manifests)
    assert config is not None
    assert config["spec"]["listeners"]["replicas"] == 5
    assert "HorizontalPodAutoscaler" not in {kind for kind, _ in kinds(manifests)}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"targetCPUUtilizationPercentage": None}, "autoscaling.enabled is true, but nothing is measured: set "),
        (
            {"minReplicas": 11},
            "autoscaling.minReplicas is 11, and autoscaling.maxReplicas 10: the least must not be more",
        ),
    ],
)
def test_what_cannot_work_is_refused(helm: Helm, wrong: Values, sentence: str) -> None:
    assert sentence in helm.refusal(values(**wrong))
