"""Which listener pods may take permanent listeners: one property for all of them, and what single pods override.

As on an OX cluster, where a role's values override the global ones, so that some nodes run no permanent listeners.
"""

from collections.abc import Mapping


def allowed_in(ordinal: int, everywhere: bool, overrides: Mapping[int, bool]) -> bool:
    """Whether the pod of this ordinal may."""
    return overrides.get(ordinal, everywhere)


def allowed_somewhere(everywhere: bool, overrides: Mapping[int, bool], replicas: int) -> bool:
    """Whether any of the pods that are wanted may; without a pod it is what all would be told."""
    if not overrides or replicas == 0:
        return everywhere
    return any(allowed_in(ordinal, everywhere, overrides) for ordinal in range(replicas))
