"""The stop order of a listener process."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from mailpush.listener import process as process_module
from mailpush.listener.process import CLOSE_SECONDS, FLUSH_SECONDS, ListenerProcess
from mailpush.notifications.dispatcher import Undelivered
from mailpush.notifications.notification import NewMail


@dataclass
class Pod:
    """All parts of a pod, as far as its end needs them. `calls` are what its inbox and its dispatcher had to do."""

    successors_there: bool = True
    calls: list[Any] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return self  # any other part, which does nothing

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self

    async def successors(self) -> bool:
        return self.successors_there

    def drain(self, *within: float) -> Any:
        """Of the ingress, at once; of the shards, within some time."""
        return self.retire(*within) if within else None

    async def retire(self, _seconds: float) -> bool:
        return True

    async def release(self, _seconds: float) -> bool:
        return True

    async def close(self) -> None:
        return

    async def linger(self, _least: float, _most: float) -> None:
        return

    async def stop(self, _seconds: float) -> list[Undelivered]:
        self.calls.append("stop")
        return [Undelivered(NewMail(1, 3, "INBOX", 1, 1), (), 0.0)]

    def give_back(self, rest: Undelivered) -> None:
        self.calls.append(rest.mail.uid)

    async def flush(self, seconds: float) -> int:
        self.calls.append(seconds)
        return 0


@pytest.mark.parametrize("successors", [True, False])
async def test_what_a_stop_gives_back_has_the_time_that_is_left_to_reach_its_next_pod(
    monkeypatch: pytest.MonkeyPatch, successors: bool
) -> None:
    """It had 3 s: of thousands that waited for a webhook some were left behind, and went with the pod."""
    monkeypatch.setattr(process_module, "LINGER_SECONDS", 0.0)
    pod = Pod(successors)
    process = object.__new__(ListenerProcess)
    process._parts = cast(Any, pod)
    lease = asyncio.create_task(asyncio.sleep(0))
    await process._leave({"lease": lease})
    first, stopped, given_back, last = pod.calls
    assert (stopped, given_back) == ("stop", 1)
    if successors:
        assert first == FLUSH_SECONDS
        assert last > 5 * CLOSE_SECONDS
    else:
        assert (first, last) == (CLOSE_SECONDS, 0.0)
