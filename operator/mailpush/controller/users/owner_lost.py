"""What is said of users whom nobody listens for any more: the pod is dead, or all went with the MailPushConfig."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.owner import ConfigKey
from mailpush.controller.state import OperatorState
from mailpush.controller.users.record import UserRecord

OWNER_LOST: Final = "OwnerLost"
LOOK_SECONDS: Final = 2.0
END_SECONDS: Final = 90.0
"""For pods that end: their grace period, and some more."""
NO_NEW_OWNER: Final = (
    "the pod that listened for the user is gone and no other has taken over yet; see the MailPushConfig's status"
)
LEFT: Final = "RegistrationLeft"
STILL_CALLS: Final = (
    "the mail server still calls for this user, and no pod is left to unregister the user: create the MailPushConfig "
    "again, or take the entry away by doveadm"
)
NO_PODS: Final = "the listener pods went with the MailPushConfig, so nobody listens for the user any more"


def lost_verdicts(record: UserRecord) -> tuple[Verdict, ...]:
    """What is said of a user whose pod is dead and who has no new owner, where the pod said that it listens."""
    said = record.listening
    if said is None or not (said.status == "True" or (said.status == "Unknown" and said.reason == OWNER_LOST)):
        return ()
    return _nobody(NO_NEW_OWNER)


def abandoned_verdicts(record: UserRecord) -> tuple[Verdict, ...]:
    """What is said of a user whose MailPushConfig is gone: no pod will ever put right what a pod said last."""
    said = () if record.listening is None else _nobody(NO_PODS)
    return (*said, Verdict(LEFT, "True", OWNER_LOST, STILL_CALLS)) if record.registered else said


def unheard_verdicts(record: UserRecord, accepted: Verdict) -> tuple[Verdict, ...]:
    """Ready of a user whose MailPushConfig has never been there: no pod will say anything."""
    if record.listening is not None:
        return ()
    return (Verdict("Ready", "False", accepted.reason, accepted.message),)


def _nobody(text: str) -> tuple[Verdict, ...]:
    return tuple(Verdict(type_, "Unknown", OWNER_LOST, text) for type_ in ("Listening", "Ready"))


class EndingPods:
    """The pods of MailPushConfigs that are gone. While they end they say what they do, and say it again.

    A pod puts right what another writes to the statuses of its users: for each user whose status is written before
    the pods have ended, pod and operator would write by turns.
    """

    def __init__(
        self, state: OperatorState, ended: Callable[[ConfigKey], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._state = state
        self._ended = ended
        self._clock = clock
        self._since: dict[ConfigKey, float] = {}
        self._looks: dict[ConfigKey, asyncio.TimerHandle] = {}

    def over(self, config: ConfigKey) -> bool:
        """Whether they have ended, or had the time for it. Where not, `ended` is called for it later, once."""
        if not self._state.pods.get(config):
            self._since.pop(config, None)
            return True
        since = self._since.setdefault(config, self._clock())
        if self._clock() - since >= END_SECONDS:
            return True  # they were left behind on purpose, or hang
        if config not in self._looks:
            self._looks[config] = asyncio.get_running_loop().call_later(LOOK_SECONDS, self.look, config)
        return False

    def look(self, config: ConfigKey) -> None:
        """Looks again, at all of them at once: a timer for each user would be thousands."""
        if (timer := self._looks.pop(config, None)) is not None:
            timer.cancel()
        if config in self._state.configs:
            self._since.pop(config, None)  # it is there again, and its users are looked at because of that
        elif self.over(config):
            self._ended(config)
