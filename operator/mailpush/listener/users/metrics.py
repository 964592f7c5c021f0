"""How many users a pod listens for, by mechanism and state."""

from typing import Final

from prometheus_client import Counter, Gauge

from mailpush.listener.mechanisms.base import Health, State

LISTENERS: Final = Gauge("mailpush_listeners", "Users of this pod by mechanism and state.", ["mechanism", "state"])

STRANGE: Final = Counter(
    "mailpush_mails_of_another_mailbox",
    "Mails that were announced for a user by a mailbox that is not the user's any more, and that nobody is told.",
)


class ListenerCount:
    """Keeps `mailpush_listeners` by the last report of each user's listener."""

    def __init__(self) -> None:
        self._states: dict[tuple[int, int], tuple[str, str]] = {}

    def observe(self, user: tuple[int, int], mechanism: str, health: Health) -> None:
        """`user` is context and user id."""
        self.forget(user)
        self._states[user] = (mechanism, health.state.value)
        LISTENERS.labels(mechanism, health.state.value).inc()

    def listening(self, mechanism: str) -> int:
        """Users for whom this mechanism listens."""
        return sum(state == (mechanism, State.LISTENING.value) for state in self._states.values())

    def forget(self, user: tuple[int, int]) -> None:
        """The user has no listener here any more."""
        if state := self._states.pop(user, None):
            LISTENERS.labels(*state).dec()
