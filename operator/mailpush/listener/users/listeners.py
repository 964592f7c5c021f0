"""The listeners of this pod's users, by user and by slot, and how many of them do what."""

from collections import Counter, UserDict
from collections.abc import Callable, Iterable

from mailpush.listener.users.user import UserKey
from mailpush.listener.users.user_listener import UserListener
from mailpush.sharding.slots import slot_of


class Listeners(UserDict[UserKey, UserListener]):
    """What concerns some slots costs as much as they hold, and a count costs nothing: a pod may have 50,000.

    `came` is called for each.
    """

    def __init__(self, came: Callable[[], None] = lambda: None) -> None:
        self._came = came
        self._by_slot: dict[int, set[UserKey]] = {}
        self._counted: dict[UserKey, tuple[Counter[str], str]] = {}
        self._denied: Counter[str] = Counter()
        self._states: Counter[str] = Counter()
        super().__init__()

    def __setitem__(self, key: UserKey, listener: UserListener) -> None:
        self._came()
        super().__setitem__(key, listener)
        self._by_slot.setdefault(slot_of(*key), set()).add(key)

    def __delitem__(self, key: UserKey) -> None:
        super().__delitem__(key)
        slot = slot_of(*key)
        self._by_slot[slot].discard(key)
        if not self._by_slot[slot]:
            del self._by_slot[slot]
        self._uncount(key)

    def in_slots(self, slots: Iterable[int]) -> list[UserKey]:
        """The users of the slots that have a listener."""
        return [key for slot in slots for key in self._by_slot.get(slot, ())]

    def observed(self, key: UserKey) -> None:
        """The user's listener has a new outcome."""
        listener = self.data.get(key)
        if listener is None:
            return
        self._uncount(key)
        if reason := listener.denied:
            self._counted[key] = (self._denied, reason)
        elif listener.listening:
            self._counted[key] = (self._states, "listening")
        elif listener.outcome is not None:
            self._counted[key] = (self._states, "failed")
        else:
            return
        count, name = self._counted[key]
        count[name] += 1

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Users by `listening` and `failed`; and the denied ones by reason."""
        return {name: self._states[name] for name in ("listening", "failed")}, dict(self._denied)

    def _uncount(self, key: UserKey) -> None:
        if (counted := self._counted.pop(key, None)) is not None:
            count, name = counted
            count[name] -= 1
            if not count[name]:
                del count[name]
