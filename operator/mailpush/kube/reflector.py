"""What a collection holds, kept by list and watch.

A list is read page by page, and each page is dealt with before the next is asked for. After a list, objects that have
vanished meanwhile are reported as absent (mark and sweep): a watch that was broken does not report them. Before each
list or watch that follows a failure there is a pause with jitter, so that a hundred pods whose watches end together do
not list together.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import structlog

from mailpush.kube.client import ANSWER_SECONDS, Kube, Object
from mailpush.kube.errors import GoneError, KubeError, UnreachableError
from mailpush.kube.resources import Resource
from mailpush.work.pace import Backoff

Change = Literal["ADDED", "MODIFIED", "DELETED", "ABSENT"]
OnChange = Callable[[Change, Object], None]

RETRY: Final = Backoff(0.4, 15.0)
AT_ONCE: Final = 50
"""Objects of a page that are dealt with in one turn of the loop: some milliseconds."""

log = structlog.get_logger(__name__)


class Reflector:
    """Lists and watches until cancelled, and calls `on_change` for each difference.

    DELETED is an event that the watch brought, with the object's last state: it was deleted, or it no longer matches
    the selector. ABSENT was found by a list: the object is not there any more, and nobody saw it go.

    Args:
        bodies: whether the objects are kept, for `on_change` with ABSENT. Without, only their resourceVersions are,
            and ABSENT has an object with nothing but its name and namespace.
        on_error: called with each failure, for those who must know since when they are blind.
        accepts: whether an object that a list ("LISTED") or a watch (its kind of event) brings is to be known at all.
        start: a resourceVersion to watch from instead of listing first, and those of the objects that are known.
        lists: held while a list is read, for those who are not to list all at a time.
        answer_seconds: for each page of a list, and until a watch begins.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        namespace: str | None,
        on_change: OnChange,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        bodies: bool = True,
        accepts: Callable[[str, Object], bool] = lambda _kind, _item: True,
        start: tuple[str, dict[str, str]] | None = None,
        lists: asyncio.Semaphore | None = None,
        on_listed: Callable[[], None] | None = None,
        on_error: Callable[[KubeError], None] | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.listed = asyncio.Event()
        self.version: str | None = None
        """How far the watch has come; None until there is a list to watch from."""
        self.versions: dict[str, str] = {}
        """The resourceVersions of the known objects, by their names."""
        if start is not None:
            self.version, self.versions = start
        self._bodies: dict[str, Object] | None = {} if bodies else None
        self._kube = kube
        self._resource = resource
        self._namespace = namespace
        self._on_change = on_change
        self._accepts = accepts
        self._lists = lists or asyncio.Semaphore()
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._on_listed = on_listed
        self._on_error = on_error
        self._answer_seconds = answer_seconds
        self._sleep = sleep

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                if self.version is None:
                    async with self._lists:
                        self.version = await self._list()
                quiet = True
                async for kind, item in self._kube.watch(
                    self._resource,
                    self._namespace,
                    self.version,
                    label_selector=self._label_selector,
                    field_selector=self._field_selector,
                    answer_seconds=self._answer_seconds,
                ):
                    failures, quiet = 0, False
                    self._take(kind, item)
                    self.version = item["metadata"]["resourceVersion"]
            except KubeError as error:
                failures += 1
                if not _resumable(error):
                    self.version = None
                if not isinstance(error, GoneError):
                    self._report(error, failures)
            else:
                if not quiet:
                    continue  # the server ends each watch after some minutes
                failures += 1  # one that ends without even a bookmark is no watch: do not ask for it all the time
            await self._sleep(RETRY.after(failures))

    def _report(self, error: KubeError, failures: int) -> None:
        if self._on_error is not None:
            self._on_error(error)
        if failures == 1 or failures % 10 == 0:
            log.warning("watch_failed", resource=self._resource.plural, error=str(error), failures=failures)

    async def _list(self) -> str:
        seen: set[str] = set()
        version = ""
        async for page, version in self._kube.pages(  # noqa: B007 - of the whole list, so the last is as the first
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            answer_seconds=self._answer_seconds,
        ):
            for number, item in enumerate(page, 1):
                if self._accepts("LISTED", item):
                    seen.add(item["metadata"]["name"])
                    self._take("LISTED", item)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
        for name in self.versions.keys() - seen:
            self._forget("ABSENT", name, self._remembered(name))
        self.listed.set()
        if self._on_listed is not None:
            self._on_listed()
        return version

    def _take(self, kind: str, item: Object) -> None:
        if kind == "BOOKMARK":  # its object has a resourceVersion and nothing else
            return
        if kind != "LISTED" and not self._accepts(kind, item):
            return
        name, version = item["metadata"]["name"], item["metadata"]["resourceVersion"]
        if kind == "DELETED":
            self._forget("DELETED", name, item)
        elif kind in ("ADDED", "MODIFIED", "LISTED"):
            before = self.versions.get(name)
            if before == version:
                return
            item["metadata"].pop("managedFields", None)  # often half of the object, and nobody here reads them
            self.versions[name] = version
            if self._bodies is not None:
                self._bodies[name] = item
            self._on_change("MODIFIED" if before is not None else "ADDED", item)

    def _forget(self, change: Change, name: str, item: Object) -> None:
        self.versions.pop(name, None)
        if self._bodies is not None:
            self._bodies.pop(name, None)
        self._on_change(change, item)

    def _remembered(self, name: str) -> Object:
        if self._bodies is not None:
            return self._bodies[name]
        return {"metadata": {"name": name, "namespace": self._namespace}}


def _resumable(error: KubeError) -> bool:
    """Whether a watch goes on from where it was, as client-go's does: after a lost connection or a busy server.

    After any other error the same resourceVersion may fail for ever, so the collection is listed anew.
    """
    return isinstance(error, UnreachableError) or error.status in (429, 503, 504)
