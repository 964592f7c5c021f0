"""The next map while it is being planned."""

from collections.abc import Iterable

from mailpush.sharding.shardmap import NONE, Move, PodRef, ShardMap


class NextMap:
    """Owners and moves that a plan changes step by step; `write` makes them a map of the next epoch."""

    def __init__(self, base: ShardMap) -> None:
        self.base = base
        self.epoch = base.epoch + 1
        self.owners: list[PodRef | None] = base.owner_refs()
        self.moves: list[Move] = list(base.moves)

    def in_flight(self) -> int:
        """How many slots are on their way."""
        return sum(len(move.slots) for move in self.moves)

    def after_moves(self) -> list[PodRef | None]:
        """The owners as they will be when all moves have ended."""
        owners = list(self.owners)
        for move in self.moves:
            for slot in move.slots:
                owners[slot] = move.receiver
        return owners

    def give(self, slots: Iterable[int], owner: PodRef | None) -> None:
        """Makes `owner` the owner at once: only for slots that no live pod may run."""
        for slot in slots:
            self.owners[slot] = owner

    def changed(self) -> bool:
        """Whether anything differs from the base."""
        return self.owners != self.base.owner_refs() or tuple(self.moves) != self.base.moves

    def write(self) -> ShardMap:
        """The next map. Each pod keeps its index; a place is reused only once no map that names it is the newest."""
        needed = {owner for owner in self.owners if owner is not None}
        needed.update(pod for move in self.moves for pod in (move.giver, move.receiver))
        named = self.base.named()
        pods: list[PodRef | None] = [pod if pod in needed else None for pod in self.base.pods]
        free = [place for place, pod in enumerate(self.base.pods) if pod is None or pod not in named]
        free = [place for place in free if pods[place] is None]
        for pod in sorted(needed.difference(pod for pod in pods if pod is not None)):
            if free:
                pods[free.pop(0)] = pod
            else:
                pods.append(pod)
        while pods and pods[-1] is None:
            pods.pop()
        index = {pod: place for place, pod in enumerate(pods) if pod is not None}
        return ShardMap(
            epoch=self.epoch,
            restoring=False,
            pods=tuple(pods),
            owners=tuple(NONE if owner is None else index[owner] for owner in self.owners),
            moves=tuple(self.moves),
        )
