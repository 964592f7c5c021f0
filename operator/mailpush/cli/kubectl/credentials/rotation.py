"""Whether the previous passcrypt may go, by what a MailPushConfig's status says."""

from typing import Final

from mailpush.cli.kubectl.credentials.reach import Options
from mailpush.cli.kubectl.credentials.status_answer import DONE, NOT_YET, answer
from mailpush.cli.kubectl.manifests import Object, Trouble

ENABLED: Final = "com.openexchange.push.credstorage.enabled"
"""OX's property, which counts in spec.properties as the field does."""


def run(options: Options) -> int:
    """The exit code: 0 where no previous passcrypt is needed, 1 where it is, 2 where that cannot be said."""
    return answer(options, verdict)


def verdict(document: Object) -> tuple[int, str]:
    """Exit code and sentence. Raises Trouble where there is no credential storage.

    A former rotation's "no more needed" must not count for the next one: only a status of the spec as it is does.
    """
    metadata, spec, status = document["metadata"], document.get("spec") or {}, document.get("status") or {}
    storage: Object = spec.get("credentialStorage") or {}
    name = metadata["name"]
    by_property = str((spec.get("properties") or {}).get(ENABLED, "")).strip().lower() == "true"
    if not storage.get("enabled") and not by_property:
        raise Trouble(f"MailPushConfig {name} has no credentialStorage.enabled: there is nothing to rotate")
    if not storage.get("passcryptPreviousSecretRef"):
        return DONE, f"MailPushConfig {name} has no previous passcrypt (credentialStorage.passcryptPreviousSecretRef)"
    if (storage.get("ox") or {}).get("credentials", "none") != "none":
        return NOT_YET, "OX's own table is never encrypted anew by Mail Push: rotate its passcrypt in OX"
    if (status.get("observedGeneration") or 0) < metadata.get("generation", 0):
        return NOT_YET, "keep the previous passcrypt: the operator has not looked at the MailPushConfig as it is now"
    said: Object = status.get("credentialStorage") or {}
    rotation: Object = said.get("rotation") or {}
    far = str(rotation.get("text") or "no pod has said how far it is")
    if said.get("previousNeeded") is not False:
        return NOT_YET, f"keep the previous passcrypt: {far}"
    unreadable = rotation.get("unreadable") or 0
    lost = f"; {unreadable} entries fit neither passcrypt: put their passwords again" if unreadable else ""
    return DONE, f"the previous passcrypt may go: take out credentialStorage.passcryptPreviousSecretRef{lost}"
