"""Answers of the API server: one object, an error, or the lines of a watch."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec

from mailpush.kube.errors import KubeError, UnreachableError, error_for

Object = dict[str, Any]


def decoded(data: bytes, what: str) -> Object:
    """An answer of the API server. Anything else is from something in between: a proxy's page, say."""
    try:
        return msgspec.json.decode(data, type=Object)
    except msgspec.DecodeError:
        raise UnreachableError(f"{what}: the answer is not the API server's") from None


def failure(status: int, data: bytes) -> KubeError:
    """What an answer that is no success means."""
    try:
        answer = msgspec.json.decode(data)
        return error_for(status, str(answer.get("reason", "")), str(answer.get("message", "")))
    except (msgspec.DecodeError, AttributeError):
        return error_for(status, "", data[:300].decode(errors="replace"))


async def lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own readline refuses lines beyond its buffer."""
    buffer = bytearray()
    async for chunk in response.content.iter_any():
        buffer += chunk
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            if line.strip():
                yield line
