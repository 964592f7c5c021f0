"""Requests to the API server with dictionaries in and out, on the connection handling of `kubernetes.aio`.

No request is ever sent twice by itself: who renews a lease must know when it was sent (protocol P5).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, ApiException, Configuration

from mailpush.kube.answers import Object, decoded, failure, lines
from mailpush.kube.connections import Connections
from mailpush.kube.errors import GoneError, KubeError, NotFoundError, UnreachableError, error_for
from mailpush.kube.proxies import direct
from mailpush.kube.resources import Resource

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
# A watch is silent for at most a minute: the server sends bookmarks about every minute. Longer means that it is dead.
WATCH_SILENCE_SECONDS: Final = 100.0
WATCH_SECONDS: Final = 290
CHUNK: Final = 500

APPLY: Final = "application/apply-patch+yaml"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON: Final = "application/json"


class Kube:
    """One connection pool to one API server."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None, *, context: str | None = None) -> Self:
        """In a pod the ServiceAccount's, else the kubeconfig given, `$KUBECONFIG` or `~/.kube/config`.

        `context` names one of the kubeconfig's contexts; default: the current one. A pod asks no proxy; else it is the
        kubeconfig's `proxy-url`, or the environment's where NO_PROXY does not say otherwise.

        Raises:
            kubernetes.aio.config.ConfigException: neither is there.
        """
        configuration = Configuration()
        explicit = kubeconfig is not None or context is not None or "KUBECONFIG" in os.environ
        in_cluster = not explicit and "KUBERNETES_SERVICE_HOST" in os.environ
        if in_cluster:
            kube_config.load_incluster_config(client_configuration=configuration)
        else:
            await kube_config.load_kube_config(
                config_file=str(kubeconfig) if kubeconfig else None,
                context=context,
                client_configuration=configuration,
            )
        configuration.retries = None
        configuration.client_session_kwargs = {"trust_env": not (in_cluster or direct(configuration.host))}
        api = ApiClient(configuration=configuration)
        api.rest_client = Connections(configuration)
        return cls(api)

    async def close(self) -> None:
        await self._api.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- one object

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, answer_seconds: float = ANSWER_SECONDS
    ) -> Object:
        return await self._json("GET", resource.path(namespace, name), answer_seconds=answer_seconds)

    async def find(
        self, resource: Resource, namespace: str | None, name: str, *, answer_seconds: float = ANSWER_SECONDS
    ) -> Object | None:
        """As `get`, None where there is no such object."""
        try:
            return await self.get(resource, namespace, name, answer_seconds=answer_seconds)
        except NotFoundError:
            return None

    async def create(
        self, resource: Resource, namespace: str | None, body: Object, *, answer_seconds: float = ANSWER_SECONDS
    ) -> Object:
        return await self._json("POST", resource.path(namespace), body=body, answer_seconds=answer_seconds)

    async def replace(
        self,
        resource: Resource,
        namespace: str | None,
        body: Object,
        *,
        subresource: str | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Object:
        """PUT. With `metadata.resourceVersion` in the body it fails with ConflictError where another wrote first."""
        path = resource.path(namespace, body["metadata"]["name"], subresource)
        return await self._json("PUT", path, body=body, answer_seconds=answer_seconds)

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        body: Object,
        *,
        manager: str,
        subresource: str | None = None,
        strict: bool = False,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Object:
        """Server-side apply; what `manager` applied before and leaves out now is removed.

        `strict` has the server refuse unknown and doubled fields (InvalidError) rather than drop them.
        """
        query = {"fieldManager": manager, "force": "true"}
        if strict:
            query["fieldValidation"] = "Strict"
        path = resource.path(namespace, body["metadata"]["name"], subresource)
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self._json(
            "PATCH", path, query=query, body=full, content_type=APPLY, answer_seconds=answer_seconds
        )

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Object,
        *,
        subresource: str | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Object:
        path = resource.path(namespace, name, subresource)
        return await self._json("PATCH", path, body=body, content_type=MERGE_PATCH, answer_seconds=answer_seconds)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Deletes the object; with `uid` only that very one, with `resource_version` only as it was then
        (ConflictError)."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        if any(preconditions.values()):
            options["preconditions"] = {key: value for key, value in preconditions.items() if value is not None}
        await self._json("DELETE", resource.path(namespace, name), body=options, answer_seconds=answer_seconds)

    async def server_time(self) -> datetime:
        """The API server's clock, to the second; this machine's where an answer does not say (a proxy took it out)."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        response = await self._request("GET", "/version", timeout=timeout)
        response.release()
        try:
            return parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError):
            return datetime.now(UTC)

    # -- many

    async def probe(self, resource: Resource, namespace: str | None, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Asks by one small request whether the resource exists and may be read.

        Raises:
            NotFoundError: the API server has no such resource.
        """
        await self._json("GET", resource.path(namespace), query={"limit": "1"}, answer_seconds=answer_seconds)

    async def pages(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """All objects, page by page, each with the resourceVersion of the whole list, to watch from.

        The next page is asked for when the former one has been dealt with, so that nobody has to hold all at a time.
        `answer_seconds`: for each page.

        Raises:
            GoneError: the reader took so long that the rest of the list is not kept any more; list again.
        """
        query: dict[str, str] = {"limit": str(CHUNK), **_selectors(label_selector, field_selector)}
        while True:
            page = await self._json("GET", resource.path(namespace), query=query, answer_seconds=answer_seconds)
            proceed = page["metadata"].get("continue")
            yield page.pop("items", None) or [], page["metadata"]["resourceVersion"]
            if not proceed:
                return
            query["continue"] = proceed

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> tuple[list[Object], str]:
        """All objects, as `pages` gives them, and the resourceVersion to watch from."""
        items: list[Object] = []
        version = ""
        async for page, listed_at in self.pages(
            resource,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            answer_seconds=answer_seconds,
        ):
            items += page
            version = listed_at
        return items, version

    async def watch(
        self,
        resource: Resource,
        namespace: str | None,
        resource_version: str,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> AsyncIterator[tuple[str, Object]]:
        """Events after `resource_version`: ADDED, MODIFIED, DELETED, BOOKMARK. Ends after some minutes: watch again.

        `answer_seconds`: until the server begins to answer, which it does at once, whether there is news or not.

        Raises:
            GoneError: list again.
            UnreachableError: the stream broke or fell silent.
        """
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            **_selectors(label_selector, field_selector),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=WATCH_SILENCE_SECONDS)
        try:
            async with asyncio.timeout(answer_seconds):
                response = await self._request("GET", resource.path(namespace), query=query, timeout=timeout)
        except TimeoutError:
            raise UnreachableError(f"the watch of {resource.plural}: no answer within {answer_seconds} s") from None
        try:
            if response.status != 200:
                raise failure(response.status, await response.read())
            async for line in lines(response):
                event = decoded(line, f"the watch of {resource.plural}")
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise error_for(status.get("code", 0), status.get("reason", ""), status.get("message", ""))
                yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"the watch of {resource.plural} broke: {type(error).__name__}") from error
        finally:
            response.close()

    # -- plumbing

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Object:
        timeout = aiohttp.ClientTimeout(total=answer_seconds, sock_connect=min(CONNECT_SECONDS, answer_seconds))
        response = await self._request(method, path, query=query, body=body, content_type=content_type, timeout=timeout)
        try:
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"{method} {path}: {type(error).__name__}") from error
        finally:
            response.release()
        if response.status >= 300:
            raise failure(response.status, data)
        return decoded(data, f"{method} {path}")

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own kind of timeout, handed through
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": JSON, "Content-Type": content_type, "User-Agent": "mail-push"}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self._api.configuration.host + path + ("?" + urlencode(query) if query else "")
        try:
            answer = await self._api.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"{method} {path}: {type(error).__name__}") from error
        except ApiException as error:
            raise KubeError(error.status or 0, "ClientError", str(error.reason)) from error
        response: aiohttp.ClientResponse = answer.response
        return response


def _selectors(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    query = {}
    if label_selector:
        query["labelSelector"] = label_selector
    if field_selector:
        query["fieldSelector"] = field_selector
    return query


__all__ = ["GoneError", "Kube", "Object"]
