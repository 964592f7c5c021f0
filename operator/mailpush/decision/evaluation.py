"""What a MailPushConfig and its Secrets come to: files, settings, and what is wrong. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from mailpush import names
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.decision import Problem, config_problems, config_warnings
from mailpush.packages import PackageState, effective_of
from mailpush.properties.read import SettingsError, read
from mailpush.properties.render import RenderedConfig, render
from mailpush.properties.secrets import ResolvedSecrets
from mailpush.properties.settings import Settings

SWITCHED_OFF: Final = frozenset({"ListenersScaledToZero", "MechanismDisabled", "PermanentPushDisabled"})
"""Problems that are an administrator's wish: the configuration is valid, but nobody is listened for."""
BLOCKING: Final = frozenset(
    {
        "DoveadmIncomplete",
        "MailAccessMissing",
        "NotYetSupported",
        "PasscryptMissing",
        "SecretNotFound",
        "SecretNotPermitted",
        "SettingsInvalid",
    }
)
"""Problems with which a configuration is not rolled out: it lacks a part that listeners need."""


class InvalidSpecError(ValueError):
    """A spec that our models refuse although the API server took it: the CRD is of another version."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One look at a MailPushConfig.

    `settings` are those of `rendered`, read back as a listener reads them; None where they cannot be read.
    `unregister` says that all users are to be unregistered at their mail servers (before an uninstall).
    """

    spec: MailPushConfigSpec
    rendered: RenderedConfig
    settings: Settings | None
    packages: tuple[PackageState, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    unregister: bool

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong with it."""
        return all(problem.reason in SWITCHED_OFF for problem in self.problems)

    @property
    def blocked(self) -> bool:
        """Whether listeners must not be given it: those that run go on with the last that was whole."""
        return any(problem.reason in BLOCKING for problem in self.problems)


def parse(body: Mapping[str, Any]) -> MailPushConfigSpec:
    """The spec of a MailPushConfig object.

    Raises:
        InvalidSpecError: names the fields.
    """
    try:
        return MailPushConfigSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        fields = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_input=False)
        )
        raise InvalidSpecError(
            f"update the CustomResourceDefinitions or the operator; it cannot read {fields}"
        ) from None


def wants_unregister(body: Mapping[str, Any]) -> bool:
    """Whether the MailPushConfig carries `mailpush.dev/unregister`, by hand or since an uninstall."""
    value = (body["metadata"].get("annotations") or {}).get(names.UNREGISTER_ANNOTATION)
    return value in (names.UNREGISTER_WANTED, names.UNREGISTER_UNINSTALLED)


def evaluate(name: str, spec: MailPushConfigSpec, resolved: ResolvedSecrets, *, unregister: bool = False) -> Evaluation:
    """Renders, reads back and judges."""
    rendered = render(spec, resolved, name, unregister=unregister)
    settings: Settings | None = None
    unreadable: tuple[Problem, ...] = ()
    try:
        settings = read(rendered.directory)
    except SettingsError as error:
        unreadable = tuple(Problem("SettingsInvalid", problem) for problem in error.problems)
    problems = (*config_problems(spec, settings, resolved.missing, resolved.unpermitted), *unreadable)
    return Evaluation(
        spec=spec,
        rendered=rendered,
        settings=settings,
        packages=effective_of(spec),
        problems=problems,
        warnings=config_warnings(spec, settings),
        unregister=unregister,
    )


def wanted_replicas(evaluation: Evaluation, running: int, highest_owner: int | None) -> int:
    """How many pods the StatefulSet is to have.

    Args:
        running: how many it has.
        highest_owner: the highest ordinal that still owns slots: a scale-down drains first. None where nobody does.

    What is blocked starts nothing; what runs already goes on with the last configuration that was whole.
    """
    if evaluation.blocked:
        return running
    replicas = evaluation.spec.listeners.replicas
    if replicas == 0 or highest_owner is None:
        return replicas  # with no pod left, nobody could take the slots
    return max(replicas, min(running, highest_owner + 1))
