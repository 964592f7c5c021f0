"""What all Kubernetes objects have in common."""


def older(version: str, than: str) -> bool:
    """Whether one resourceVersion is before another of the same resource (KEP-5504); what is no number is not."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)
