"""ShardMap: which pod owns which slot (protocol P2). The codec of its spec stands in mailpush.sharding.shardmap."""

# ruff: noqa: RUF012 - pydantic copies a default that can change

from typing import Annotated, Literal

from pydantic import Field

from mailpush.api.meta import Condition, Model, StatusModel, list_map


class ShardMapPod(Model):
    """One listener pod, named by its index in owners and moves."""

    name: Annotated[str, Field(max_length=253)]
    """The pod's name. Empty, as its uid, where the place is free."""
    uid: Annotated[str, Field(max_length=128)]
    """The pod's UID: a pod that comes again under the same name is another pod."""


class ShardMapMove(Model):
    """Slots on their way from one pod to another."""

    from_: Annotated[int, Field(alias="from", ge=0, le=65534)]
    """Index of the pod that gives the slots away."""
    to: Annotated[int, Field(ge=0, le=65534)]
    """Index of the pod that takes them once the other has released them."""
    epoch: Annotated[int, Field(ge=0)]
    """Epoch of the map in which the move began; the giver's Lease releases through it."""
    slots: Annotated[str, Field(max_length=16384)]
    """The slots, as ranges: 0-9,17."""


class ShardMapSpec(Model):
    """Written by the operator alone."""

    format_version: Literal[1]
    """Format of this object."""
    epoch: Annotated[int, Field(ge=0)]
    """Raised by one with each change."""
    restoring: bool = False
    """True while a map that was deleted is made again from the pods' copies: nothing starts until it is false."""
    pods: Annotated[list[ShardMapPod], Field(max_length=1024)] = []
    """The pods that owners and moves name by their index."""
    owners: Annotated[str, Field(max_length=65536)]
    """Base64 of 16,384 big-endian 16-bit numbers: the index of each slot's owner, 65535 for none."""
    moves: Annotated[list[ShardMapMove], Field(max_length=1024)] = []
    """Slots that are being moved, at most 2,048 at a time."""


class ShardMapChange(StatusModel):
    """One change of the map."""

    epoch: Annotated[int, Field(ge=0)]
    """The epoch that it made."""
    time: Annotated[str, Field(max_length=64)]
    """When (RFC 3339)."""
    reason: Annotated[str, Field(max_length=64)]
    """Why, in one word."""
    message: Annotated[str, Field(max_length=1024)]
    """Why, in a sentence."""


class ShardMapStatus(StatusModel):
    """Figures of the map for people."""

    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))] = []
    """Balanced: no move is under way and no pod has much more than its share."""
    pods: Annotated[int, Field(ge=0)] | None = None
    """Pods that own slots."""
    users: Annotated[int, Field(ge=0)] | None = None
    """Push users of the MailPushConfig."""
    moving: Annotated[int, Field(ge=0)] | None = None
    """Slots that are being moved."""
    imbalance: Annotated[str, Field(max_length=16)] | None = None
    """Most users on one pod divided by the mean, such as 1.01."""
    changes: Annotated[list[ShardMapChange], Field(max_length=20)] = []
    """The last 20 changes."""
