"""Whether all passwords of the cluster memory are in the database, by what a MailPushConfig's status says."""

from typing import Final

from mailpush.cli.kubectl.credentials.reach import Options
from mailpush.cli.kubectl.credentials.status_answer import DONE, NOT_YET, answer
from mailpush.cli.kubectl.manifests import Object, Trouble

RDB: Final = "com.openexchange.push.credstorage.rdb"
"""OX's property, which counts in spec.properties as the field does."""


def run(options: Options) -> int:
    """The exit code: 0 where nothing is left to copy, 1 where something is, 2 where that cannot be said."""
    return answer(options, verdict)


def verdict(document: Object) -> tuple[int, str]:
    """Exit code and sentence. Raises Trouble where passwords are not to go to a database.

    Only a status of the spec as it is counts.
    """
    metadata, spec, status = document["metadata"], document.get("spec") or {}, document.get("status") or {}
    storage: Object = spec.get("credentialStorage") or {}
    name = metadata["name"]
    by_property = str((spec.get("properties") or {}).get(RDB, "")).strip().lower() == "true"
    if not storage.get("rdb") and not by_property:
        raise Trouble(f"MailPushConfig {name} has no credentialStorage.rdb: passwords are not to go to a database")
    if (storage.get("ox") or {}).get("credentials", "none") != "none":
        raise Trouble(f"MailPushConfig {name} reads OX's own table: nothing is copied there")
    if (status.get("observedGeneration") or 0) < metadata.get("generation", 0):
        return NOT_YET, "keep the cluster memory: the operator has not looked at the MailPushConfig as it is now"
    if not spec.get("redis"):
        return DONE, f"MailPushConfig {name} has no cluster memory (redis.url) to copy passwords from"
    said: Object = (status.get("credentialStorage") or {}).get("migration") or {}
    if said.get("finished") is not True:
        return NOT_YET, f"keep the cluster memory: {said.get('text') or 'no pod has said how far it is'}"
    unreadable = said.get("unreadable") or 0
    lost = f"; {unreadable} of them no passcrypt reads: put these passwords again" if unreadable else ""
    uid = metadata.get("uid", "<UID of the MailPushConfig>")
    return DONE, (
        f"all {said.get('total') or 0} entries of the cluster memory stand in the database, or newer ones{lost}. They "
        f"may go: redis-cli UNLINK {uid}:credentials"
    )
