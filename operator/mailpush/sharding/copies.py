"""A pod's copy of the map on its Lease, while the API has none or one that is no successor (protocol P10).

A map of 16,384 slots and 1,024 pods is some 70 kB so; an object's annotations may have 256 KiB.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from mailpush.sharding.leases import FAR
from mailpush.sharding.shardmap import ShardMap, ShardMapError
from mailpush.sharding.slots import SLOTS

MOST_BYTES: Final = 1_000_000
"""That a copy may be when it is unpacked; the largest map has a tenth."""
_COPY: Final = re.compile(r"([0-9]{1,19}):([A-Za-z0-9+/=]+)")


def encode_copy(shard_map: ShardMap) -> str:
    """`<epoch>:<base64 of the deflated spec>`, without the moves: a map that is made again has none."""
    spec = json.dumps(replace(shard_map, moves=()).to_spec(), separators=(",", ":")).encode()
    return f"{shard_map.epoch}:{base64.b64encode(zlib.compress(spec, 9)).decode()}"


def epoch_of(copy: str) -> int:
    """The epoch that a copy says it has; 0 where it is none."""
    found = _COPY.fullmatch(copy)
    return int(found[1]) if found and int(found[1]) < FAR else 0


def newest_copy(copies: Iterable[str], above: int, slots: int = SLOTS) -> ShardMap | None:
    """The newest of them that can be read, of an epoch higher than `above`; None where there is none."""
    for copy in sorted(set(copies), key=epoch_of, reverse=True):
        if epoch_of(copy) <= above:
            return None
        if (found := _decode(copy, slots)) is not None:
            return found
    return None


def _decode(copy: str, slots: int) -> ShardMap | None:
    unpacker = zlib.decompressobj()
    try:
        spec = unpacker.decompress(base64.b64decode(copy.partition(":")[2], validate=True), MOST_BYTES)
        if not unpacker.eof:
            return None  # cut, or larger than any map
        found = ShardMap.from_spec(json.loads(spec), slots)
    except (ShardMapError, ValueError, RecursionError, AttributeError, TypeError, binascii.Error, zlib.error):
        return None
    return replace(found, moves=()) if found.epoch == epoch_of(copy) else None
