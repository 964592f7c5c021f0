"""Push packages: which are in effect, and why.

The rules of OX's chart (`features.status` first, then `packages.status`, which wins; only `enabled` and `disabled`),
with one stated difference: a push package that is not listed is disabled, where OX's chart would start it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mailpush.api.mailpushconfig import MailPushConfigSpec

DOVECOT: Final = "open-xchange-push-dovecot"
IMAPIDLE: Final = "open-xchange-push-imapidle"
MAILNOTIFY: Final = "open-xchange-push-mailnotify"
REST: Final = "open-xchange-rest"

MECHANISMS: Final[Mapping[str, str]] = MappingProxyType(
    {DOVECOT: "dovecot", IMAPIDLE: "imapidle", MAILNOTIFY: "mailnotify"}
)
"""The mechanism that each push package brings."""

PUSH_PACKAGES: Final = tuple(MECHANISMS)

REQUIREMENTS: Final[Mapping[str, str]] = MappingProxyType({DOVECOT: REST})
"""What a push package needs beside itself: Dovecot's callback arrives through OX's REST endpoint."""

NOT_YET_SUPPORTED: Final = frozenset({MAILNOTIFY})
"""Packages that can be enabled, but whose mechanism does not exist yet."""

SUPPORTED: Final = tuple(package for package in PUSH_PACKAGES if package not in NOT_YET_SUPPORTED)
"""The push packages that can be recommended."""

_NAME: Final = re.compile(r"[^,\s\x00-\x1f\x7f]{1,253}")
_ENABLED: Final = {"enabled": True, "disabled": False}


class PackageError(ValueError):
    """A value that is neither `enabled` nor `disabled`; the text names it and its key."""


@dataclass(frozen=True, slots=True)
class PackageState:
    """What has become of a package."""

    name: str
    enabled: bool
    """Whether it is in effect."""
    reason: str
    """Why, in a sentence."""
    conflict: bool = False
    """True where it was enabled and something that it needs is disabled."""


def effective(
    features: Mapping[str, str],
    packages: Mapping[str, str],
    definitions: Mapping[str, Sequence[str]] = MappingProxyType({}),
    *,
    whitelist: Sequence[str] = (),
) -> tuple[PackageState, ...]:
    """The push packages, then every other package that is listed or needed, sorted by name. What is no name of a
    package is passed over.

    Args:
        features: `features.status`: feature to `enabled` or `disabled`.
        packages: `packages.status`: package to `enabled` or `disabled`. It wins over features.
        definitions: the packages of a feature. Default: a feature is the package of its own name (no feature of OX's
            chart holds a push package).
        whitelist: `packages.whitelist`: where it names a package, exactly those are enabled; the rest is still checked,
            but does not count. What a package of it needs is enabled as well.

    Raises:
        PackageError: any other value.
    """
    wanted: dict[str, tuple[bool, str]] = {}
    for feature, value in features.items():
        status = _status(f"features.status.{feature}", value)
        for package in definitions.get(feature, (feature,)):
            wanted[package] = (status, f"features.status.{feature} is {value}")
    for package, value in packages.items():
        wanted[package] = (_status(f"packages.status.{package}", value), f"packages.status.{package} is {value}")

    if whitelist:
        wanted = _whitelisted(wanted, whitelist)
    states = {name: PackageState(name, *decision) for name, decision in wanted.items() if is_name(name)}
    for name in PUSH_PACKAGES:
        states.setdefault(name, PackageState(name, False, f"packages.status.{name} is not set; push packages are off"))
    for name, needed in REQUIREMENTS.items():
        if not states[name].enabled:
            continue
        if needed not in wanted:
            states[needed] = PackageState(needed, True, f"{name} needs it")
        elif not states[needed].enabled:
            reason = f"it needs {needed}, but {wanted[needed][1]}; enable {needed} or disable {name}"
            states[name] = PackageState(name, False, reason, conflict=True)
    others = sorted(states.keys() - set(PUSH_PACKAGES))
    return tuple(states[name] for name in (*PUSH_PACKAGES, *others))


def is_name(text: str) -> bool:
    """Whether a package can have this name: packages stand in comma lists and in the status."""
    return _NAME.fullmatch(text) is not None


def in_effect(states: Iterable[PackageState]) -> frozenset[str]:
    """Names of the packages that are in effect."""
    return frozenset(state.name for state in states if state.enabled)


def mechanisms_of(packages: Iterable[str]) -> tuple[str, ...]:
    """The mechanisms that these packages bring, in a fixed order."""
    present = frozenset(packages)
    return tuple(mechanism for package, mechanism in MECHANISMS.items() if package in present)


def package_of(mechanism: str) -> str:
    """The push package that brings `mechanism`. Raises KeyError for an unknown one."""
    return {brought: package for package, brought in MECHANISMS.items()}[mechanism]


def effective_of(spec: MailPushConfigSpec) -> tuple[PackageState, ...]:
    """As `effective`, of a MailPushConfig."""
    return effective(spec.features.status, spec.packages.status, whitelist=spec.packages.whitelist)


def _whitelisted(wanted: Mapping[str, tuple[bool, str]], whitelist: Sequence[str]) -> dict[str, tuple[bool, str]]:
    """What the whitelist makes of it. What a listed package needs stays open, so that it is brought along."""
    needed = {REQUIREMENTS[name] for name in whitelist if name in REQUIREMENTS}
    passed_over = {*PUSH_PACKAGES, *wanted} - needed
    return dict.fromkeys(passed_over, (False, "packages.whitelist does not name it")) | dict.fromkeys(
        whitelist, (True, "packages.whitelist names it")
    )


def _status(key: str, value: str) -> bool:
    try:
        return _ENABLED[value]
    except KeyError:
        raise PackageError(f'{key} is "{value}"; only "enabled" and "disabled" are allowed') from None
