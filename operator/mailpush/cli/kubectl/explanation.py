"""Why a user is or is not listened for, row by row. Pure: evidence in, an explanation out."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mailpush import names
from mailpush.api.conditions import find
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.cli.kubectl.evidence import Evidence, user_secret_of
from mailpush.cli.kubectl.manifests import Trouble, config_spec, user_spec
from mailpush.decision import (
    NOT_REACHED,
    PASSED,
    REFUSED,
    Placement,
    Problem,
    Row,
    config_problems,
    config_warnings,
    decide,
    site_facts,
    user_facts,
)
from mailpush.decision.evaluation import BLOCKING, SWITCHED_OFF, wants_unregister
from mailpush.kube.secrets import is_permitted, text_of
from mailpush.packages import PackageError
from mailpush.properties.read import SettingsError, read
from mailpush.properties.render import render
from mailpush.properties.secrets import MASTER_PASSWORD, PASSCRYPT, ResolvedSecrets, purpose_of
from mailpush.properties.settings import Settings
from mailpush.sharding.shardmap import ShardMap, ShardMapError
from mailpush.sharding.slots import slot_of

CONFIG_NOT_FOUND: Final = "ConfigNotFound"
AUTHENTICATION_CODE: Final = "PUSH-0010"
CODE: Final = re.compile(r" \((PUSH-\d{4})\)$")
STATUS_FIELDS: Final = ("pod", "mechanism", "permanent", "reason", "ownerEpoch")


UNREGISTERING: Final = Problem(
    "Unregistering",
    f"the MailPushConfig has the annotation {names.UNREGISTER_ANNOTATION}: every user is unregistered and nobody is "
    "listened for until it is taken off",
)
STOPPING: Final = BLOCKING | SWITCHED_OFF | {UNREGISTERING.reason}
"""Problems with which no listener is started, whoever the user is."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer. `notes` are what one should know besides."""

    user: str
    config: str
    spawn: bool
    reason: str
    message: str
    code: str | None
    mechanisms: tuple[str, ...]
    rows: tuple[Row, ...]
    slot: int
    owner: str | None
    status: Mapping[str, Any] | None
    """The live status, None where files were read."""
    notes: tuple[str, ...] = field(default=())

    def json(self) -> dict[str, Any]:
        """For programs: stable names."""
        return {
            "user": self.user,
            "config": self.config,
            "spawn": self.spawn,
            "reason": self.reason,
            "code": self.code,
            "message": self.message,
            "mechanisms": list(self.mechanisms),
            "rows": [
                {
                    "check": row.check,
                    "question": row.question,
                    "outcome": row.outcome,
                    "reason": row.reason,
                    "code": row.code,
                    "message": row.message,
                }
                for row in self.rows
            ],
            "slot": self.slot,
            "owner": self.owner,
            "status": None if self.status is None else dict(self.status),
            "notes": list(self.notes),
        }


def explanation(evidence: Evidence) -> Explanation:
    """
    Raises:
        Trouble: an object that the models refuse; the text names the field.
    """
    spec = user_spec(evidence.user, of_file=not evidence.live)
    slot = slot_of(spec.context_id, spec.user_id)
    notes = [f"Secret {name} was not looked at; it is taken to be as it should" for name in sorted(evidence.unread)]
    placement = None
    rows: tuple[Row, ...]
    mechanisms: tuple[str, ...] = ()
    exists = "Does the user's MailPushConfig exist?"
    if evidence.config is None:
        namespace = evidence.user["metadata"].get("namespace")
        where = f" in namespace {namespace}" if namespace else ""
        message = f'there is no MailPushConfig "{evidence.config_name}"{where}: create it'
        rows = (Row("config_exists", REFUSED, message, CONFIG_NOT_FOUND, None, exists),)
        spawn, reason, code = False, CONFIG_NOT_FOUND, None
    else:
        config = config_spec(evidence.config, of_file=not evidence.live)
        settings = _settings(evidence, config)
        if evidence.live:
            placement = _placement(evidence, settings, slot, notes)
        reference = spec.credentials_secret_ref
        secret = None
        if reference and _by_secret(settings):
            secret = user_secret_of(evidence, reference.name, str(evidence.user["metadata"]["name"])).facts
        elder = (evidence.user.get("status") or {}).get("duplicateOf") if evidence.live else None
        decision = decide(user_facts(spec, secret, placement, elder), site_facts(settings))
        first = Row("config_exists", PASSED, f'MailPushConfig "{evidence.config_name}"', question=exists)
        spawn, reason, message = decision.spawn, decision.reason, decision.message
        code, mechanisms = decision.code, decision.mechanisms
        usable = _usable(config, settings, spawn, unregister=wants_unregister(evidence.config))
        rows = (first, *decision.trail, usable)
        if usable.outcome == REFUSED:
            spawn, reason, message = False, usable.reason or "", usable.message
        if evidence.live:
            heard = _heard(evidence, spawn)
            rows = (*rows, heard)
            if heard.outcome == REFUSED:
                spawn, reason, message, code = False, heard.reason or "", heard.message, heard.code
        notes += _beside(evidence, decision.reason)
        notes += _of_config(config, settings, evidence.config_name, reason)
        if wants_unregister(evidence.config) and reason != UNREGISTERING.reason:
            notes.append(f"{UNREGISTERING.reason}: {UNREGISTERING.message}")
    if evidence.user["metadata"].get("deletionTimestamp"):
        notes.append("the PushUser is being deleted: it is unregistered, and listened for no more")
    if spec.suspend and reason != "Suspended":
        notes.append("the user is suspended as well")
    return Explanation(
        user=evidence.name,
        config=evidence.config_name,
        spawn=spawn,
        reason=reason,
        message=message,
        code=code,
        mechanisms=mechanisms,
        rows=rows,
        slot=slot,
        owner=placement.owner if placement else None,
        status=_status(evidence.user) if evidence.live else None,
        notes=tuple(notes),
    )


def _settings(evidence: Evidence, spec: MailPushConfigSpec) -> Settings:
    """As listeners would run by them: rendered and read back. Of secrets only whether they are there."""
    values = {PASSCRYPT: "taken to be there"}
    if _has_master_password(evidence, spec):
        values[MASTER_PASSWORD] = "there"
    try:
        return read(render(spec, ResolvedSecrets(b"explain", values), evidence.config_name).directory)
    except (SettingsError, PackageError) as error:
        raise Trouble(f"MailPushConfig {evidence.config_name}: {error}") from None


def _has_master_password(evidence: Evidence, spec: MailPushConfigSpec) -> bool:
    reference = spec.mail_access.master_password_secret_ref if spec.mail_access else None
    if reference is None:
        return False
    if reference.name in evidence.unread:
        return True
    secret = evidence.secrets.get(reference.name)
    if secret is None or not is_permitted(secret, purpose_of(MASTER_PASSWORD)):
        return False
    return bool((text_of(secret, reference.key) or "").strip())


def _by_secret(settings: Settings) -> bool:
    return settings.mail is not None and settings.mail.user_secrets


def _placement(evidence: Evidence, settings: Settings, slot: int, notes: list[str]) -> Placement:
    if evidence.shard_map is None:
        return Placement(slot, None)
    try:
        shard_map = ShardMap.from_spec(evidence.shard_map.get("spec") or {})
    except ShardMapError as error:
        notes.append(f"the ShardMap cannot be read: {error}")
        return Placement(slot, None)
    if (move := shard_map.moving().get(slot)) is not None:
        notes.append(f"slot {slot} is on its way from {move.giver.name} to {move.receiver.name}")
    owner = shard_map.owner_of(slot)
    if owner is None:
        return Placement(slot, None)
    number = owner.name.rpartition("-")[2]
    return Placement(slot, owner.name, allowed=settings.allowed_in(int(number) if number.isdecimal() else 0))


def _usable(spec: MailPushConfigSpec, settings: Settings, spawn: bool, *, unregister: bool) -> Row:
    """The row that asks the MailPushConfig as a whole: the user may pass, and no pod runs by it."""
    question = "Do listeners run by the MailPushConfig?"
    if not spawn:
        return Row("config_usable", NOT_REACHED, "", question=question)
    problems = (*config_problems(spec, settings), *([UNREGISTERING] if unregister else []))
    for problem in problems:
        if problem.reason in STOPPING:
            return Row("config_usable", REFUSED, problem.message, problem.reason, None, question)
    return Row("config_usable", PASSED, "nothing in it keeps them from it", question=question)


def _heard(evidence: Evidence, spawn: bool) -> Row:
    """The last row of the flow, which the owning pod answers: whether the mechanism works at the mail server."""
    question = "Does the mechanism learn of new mail (the owning pod's last word)?"
    if not spawn:
        return Row("listening", NOT_REACHED, "", question=question)
    said = _said(evidence.user, "Listening")
    if said is None:
        return Row("listening", "not known", "no pod has said anything about the user yet", question=question)
    text = str(said.get("message", ""))
    outcome = {"True": PASSED, "False": REFUSED}.get(str(said.get("status")), "not known")
    if outcome == REFUSED and said.get("observedGeneration") != evidence.user["metadata"].get("generation"):
        outcome = "not known"  # said of the user as it was before the last change
    reason = str(said.get("reason", ""))
    stated = CODE.search(text)
    code = AUTHENTICATION_CODE if reason == "AuthenticationFailed" else stated[1] if stated else None
    return Row("listening", outcome, text.removesuffix(f" ({code})"), reason, code, question)


def _beside(evidence: Evidence, reason: str) -> Iterator[str]:
    """What the operator says otherwise than we do: it may not have looked again yet."""
    said = _said(evidence.user, "Accepted") if evidence.live else None
    before_placement = reason not in ("NotAssigned", "PodExcluded")
    if said is not None and before_placement and said.get("reason") != reason:
        yield f"the operator's last word is Accepted={said.get('status')}, {said.get('reason')}: {said.get('message')}"


def _of_config(spec: MailPushConfigSpec, settings: Settings, name: str, reason: str) -> Iterator[str]:
    """What keeps the whole MailPushConfig from working, though this user's rows may all pass."""
    for problem in config_problems(spec, settings):
        if problem.reason != reason:
            yield f"MailPushConfig {name} is not ready: {problem.reason}: {problem.message}"
    for warning in config_warnings(spec, settings):
        yield f"MailPushConfig {name} has a warning: {warning.reason}: {warning.message}"


def _said(user: Mapping[str, Any], type_: str) -> Mapping[str, Any] | None:
    return find((user.get("status") or {}).get("conditions") or (), type_)


def _status(user: Mapping[str, Any]) -> dict[str, Any]:
    status = user.get("status") or {}
    conditions = {
        str(condition["type"]): {key: condition.get(key) for key in ("status", "reason", "message")}
        for condition in status.get("conditions") or ()
    }
    return {
        **{key: status[key] for key in STATUS_FIELDS if key in status},
        **_credentials(status.get("credentials")),
        "conditions": conditions,
    }


def _credentials(said: Any) -> dict[str, str]:
    """Where the owning pod has the credentials from, and when they last worked."""
    if not isinstance(said, Mapping) or not said.get("source"):
        return {}
    return {"credentials": str(said["source"]), "credentialsLastWorked": str(said.get("lastWorked") or "never")}
