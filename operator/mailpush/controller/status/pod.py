"""A pod and what its Lease says, for those who judge it. Pure."""

from dataclasses import dataclass

from mailpush.controller.state import Pod
from mailpush.sharding.leases import LeaseState
from mailpush.sharding.planning.death import PodLife


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod and what its Lease says."""

    pod: Pod
    lease: LeaseState | None
    life: PodLife

    @property
    def capable(self) -> bool:
        return self.why_not() is None

    def why_not(self) -> str | None:
        """Why it cannot take users, None where it can."""
        if self.pod.deleting:
            return "is ending"
        if self.lease is None or not self.lease.held_by(self.pod.ref.uid):
            return f"has not taken its Lease yet{f' ({self.pod.trouble})' if self.pod.trouble else ''}"
        if not self.life.lives:
            return "has not renewed its Lease lately"
        if self.lease.draining:
            return "is draining"
        if not self.lease.capable:
            return f"is not capable ({self.lease.reason or 'starting'})"
        return None


def saying(pods: tuple[PodView, ...]) -> dict[str, LeaseState]:
    """By pod, what its own process says."""
    return {
        view.pod.ref.name: view.lease
        for view in pods
        if view.lease is not None and view.life.lives and view.lease.held_by(view.pod.ref.uid)
    }
