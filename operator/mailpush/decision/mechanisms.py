"""Which mechanisms may run for users, and by which way `dovecot` registers them."""

from typing import Final

from mailpush.decision.facts import SiteFacts
from mailpush.packages import NOT_YET_SUPPORTED, mechanisms_of

DOVECOT: Final = "dovecot"


def supporting(site: SiteFacts) -> tuple[str, ...]:
    """Mechanisms whose package is in effect, exists, and may run permanent listeners, in the order of trying."""
    present = mechanisms_of(site.packages - NOT_YET_SUPPORTED)
    usable = [mechanism for mechanism in present if mechanism != "imapidle" or site.imapidle_permanent]
    # A mechanism that the order leaves out comes last rather than never: its package was enabled.
    rank = {mechanism: index for index, mechanism in enumerate(site.mechanisms_order)}
    return tuple(sorted(usable, key=lambda mechanism: rank.get(mechanism, len(rank))))


def usable_mechanisms(site: SiteFacts) -> tuple[str, ...]:
    """Those of them that are switched on."""
    return tuple(mechanism for mechanism in supporting(site) if site.mechanisms_enabled.get(mechanism, True))


def may_use_doveadm(site: SiteFacts) -> bool:
    """Whether users can be registered at Dovecot by doveadm, which needs neither a master password nor their own."""
    return site.doveadm and DOVECOT in usable_mechanisms(site)


def needs_no_password(site: SiteFacts) -> bool:
    """Whether nobody's password is ever asked for: all are registered by doveadm, and nothing else may run."""
    return site.prefer_doveadm and may_use_doveadm(site) and usable_mechanisms(site) == (DOVECOT,)
