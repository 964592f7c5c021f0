"""The execution flow: whether a permanent listener is to run for a user, and if not, why.

An ordered chain of named checks in OX's order. The operator, the listener and `explain` call the same function.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from mailpush.decision.checks import (
    Check,
    assigned,
    client_allowed,
    client_registered,
    login_known,
    mail_access_configured,
    mailbox_free,
    mechanism_enabled,
    package_enabled,
    package_supports_permanent,
    permanent_push_allowed,
    pod_allowed,
    secret_permitted,
    server_known,
    user_active,
)
from mailpush.decision.facts import NOBODY, SiteFacts, UserFacts
from mailpush.decision.mechanisms import DOVECOT, may_use_doveadm, usable_mechanisms
from mailpush.decision.passwords import by_doveadm_alone, password_available, password_source_usable
from mailpush.decision.refusal import Refusal

ACCEPTED: Final = "Accepted"
PASSED: Final = "passed"
REFUSED: Final = "refused"
NOT_REACHED: Final = "not reached"


class Row(NamedTuple):
    """One line of what `explain` prints."""

    check: str
    outcome: str
    """`passed`, `refused` or `not reached`."""
    message: str
    reason: str | None = None
    """Of the refusal."""
    code: str | None = None
    question: str = ""
    """What the check asks."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for one user."""

    spawn: bool
    reason: str
    """`Accepted`, or the reason of the refusal."""
    message: str
    code: str | None = None
    mechanism: str | None = None
    """The mechanism to try first; None where refused."""
    mechanisms: tuple[str, ...] = ()
    """All that may be tried, in order."""
    doveadm: bool = False
    """Whether mechanism `dovecot` registers the user by doveadm, and not by IMAP."""
    trail: tuple[Row, ...] = ()


CHECKS: Final[tuple[Check, ...]] = (
    permanent_push_allowed,
    package_enabled,
    package_supports_permanent,
    client_registered,
    client_allowed,
    user_active,
    mechanism_enabled,
    mail_access_configured,
    server_known,
    secret_permitted,
    password_available,
    login_known,
    mailbox_free,
    # OX asks where a user is assigned earlier. Here the balancer comes after the decision: it gives pods only users who
    # are to be listened for, and what refuses a user is the same whether pods run or not.
    assigned,
    pod_allowed,
)


OF_THE_SITE: Final[tuple[tuple[Callable[[SiteFacts], Refusal | str], ...], ...]] = (
    (lambda site: permanent_push_allowed(NOBODY, site),),
    (
        lambda site: package_enabled(NOBODY, site),
        lambda site: package_supports_permanent(NOBODY, site),
        lambda site: mechanism_enabled(NOBODY, site),
    ),
    (lambda site: mail_access_configured(NOBODY, site), password_source_usable),
)
"""The checks that come out alike for every user. Where one of a row refuses, the rest of it has nothing to ask."""


def site_refusals(site: SiteFacts) -> Iterator[Refusal]:
    """Why nobody at all can be listened for, whoever is registered."""
    for row in OF_THE_SITE:
        outcomes = (check(site) for check in row)
        yield from islice((outcome for outcome in outcomes if isinstance(outcome, Refusal)), 1)


def decide(user: UserFacts, site: SiteFacts) -> Decision:
    """Whether a permanent listener is to run for `user`: the first check that refuses gives the reason."""
    trail: list[Row] = []
    refusal: Refusal | None = None
    for check in CHECKS:
        name, question = name_of(check), question_of(check)
        if refusal is not None:
            trail.append(Row(name, NOT_REACHED, "", question=question))
            continue
        outcome = check(user, site)
        if isinstance(outcome, Refusal):
            refusal = outcome
            trail.append(Row(name, REFUSED, refusal.message, refusal.reason, refusal.code, question))
        else:
            trail.append(Row(name, PASSED, outcome, question=question))
    if refusal is not None:
        return Decision(False, refusal.reason, refusal.message, refusal.code, trail=tuple(trail))
    alone = by_doveadm_alone(user, site)
    mechanisms = (DOVECOT,) if alone else usable_mechanisms(site)
    doveadm = alone or (site.prefer_doveadm and may_use_doveadm(site))
    message = f"a permanent listener is to run, by {' or '.join(mechanisms)}"
    return Decision(True, ACCEPTED, message, None, mechanisms[0], mechanisms, doveadm, tuple(trail))


def name_of(check: Check) -> str:
    """The name that `explain` and the docs give a check."""
    return getattr(check, "__name__", str(check))


def question_of(check: Check) -> str:
    """What the check asks, in a sentence."""
    return (check.__doc__ or "").partition("\n")[0]
