"""Writes what the chart takes from the models: `values.schema.json`, `files/known.json` and `files/crds/`.

python charts/generate.py           writes them
python charts/generate.py --check   writes nothing, fails and names what differs
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from mailpush import names
from mailpush.api.mailpushconfig import SECRET_PROPERTIES
from mailpush.api.schema import closed_spec_schema
from mailpush.logs import LEVELS
from mailpush.properties import keys
from mailpush.properties.catalog import SETTINGS
from mailpush.work.status_budget import MOST

ROOT: Final = Path(__file__).resolve().parents[1]
CHART: Final = ROOT / "charts" / "mail-push"
CRDS: Final = ROOT / "crds"

Schema = dict[str, Any]


def _closed(properties: dict[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties, **more}


def _boolean() -> Schema:
    return {"type": "boolean"}


def _boolean_or_null() -> Schema:
    return {"type": ["boolean", "null"]}


def _text(pattern: str | None = None) -> Schema:
    return {"type": "string"} | ({"pattern": pattern} if pattern else {})


def _whole(minimum: int, maximum: int | None = None) -> Schema:
    return {"type": "integer", "minimum": minimum} | ({} if maximum is None else {"maximum": maximum})


def _whole_or_null(minimum: int) -> Schema:
    return {"type": ["integer", "null"], "minimum": minimum}


def _texts() -> Schema:
    """A map of strings: labels, annotations."""
    return {"type": "object", "additionalProperties": {"type": "string"}}


def _kubernetes() -> Schema:
    """An object of Kubernetes' own, which the API server checks."""
    return {"type": "object"}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _pull_secrets() -> Schema:
    named = _closed({"name": _text()}, required=["name"])
    return _list({"anyOf": [_text(), named]})


def _core_mw() -> Schema:
    """Users share it with App Suite's chart, so it is open; the templates check what we take from it, and can name the
    wrong value."""
    open_map: Schema = {"type": ["object", "null"]}
    return open_map | {"properties": {"packages": open_map, "features": open_map}}


def values_schema() -> Schema:
    """The schema of the chart's values (JSON Schema draft 7, what both Helm 3 and Helm 4 check).

    Closed, so that a typo is refused: with Helm 3 nothing else would, since the API server only warns there. Open are
    the top, `core-mw` and `appsuite`, since a values file of a whole stack holds other charts' values too (the
    templates refuse what is nearly ours), `global`, and objects of Kubernetes' own.
    """
    namespace = _text(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    resources = _closed({"limits": _kubernetes(), "requests": _kubernetes(), "claims": _list(_kubernetes())})
    properties: dict[str, Schema] = {
        # Set by umbrella charts: `global` is passed to every subchart, `enabled` is the usual dependency condition.
        "global": {"type": ["object", "null"]},
        "enabled": _boolean(),
        "core-mw": _core_mw(),
        "appsuite": {"type": ["object", "null"], "properties": {"core-mw": _core_mw()}},
        "mailPushConfig": _closed(
            {
                "create": _boolean_or_null(),
                "name": _text(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$") | {"maxLength": names.MAX_CONFIG_NAME},
                "spec": _spec(),
            }
        ),
        "hooks": _closed(
            {
                "enabled": _boolean(),
                "timeoutSeconds": _whole(1),
                "cleanup": _closed({"enabled": _boolean()}),
                "resources": resources,
            }
        ),
        "watchNamespaces": _list(namespace),
        "replicaCount": _whole(0, 2),
        "logLevel": {"enum": [*LEVELS]},
        "image": _closed(
            {
                "registry": _text(),
                "repository": _text() | {"minLength": 1},
                "tag": _text(),
                "digest": _text(r"^(sha256:[0-9a-f]{64})?$"),
                "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
            }
        ),
        "imagePullSecrets": _pull_secrets(),
        "crds": _closed({"install": _boolean(), "keep": _boolean(), "annotations": _texts()}),
        "rbac": _closed(
            {
                "create": _boolean(),
                "aggregateToView": _boolean(),
                "aggregateToEdit": _boolean(),
                "aggregateToAdmin": _boolean(),
            }
        ),
        "admissionPolicy": _closed({"create": _boolean()}),
        "flowControl": _closed({"create": _boolean()}),
        "statusWritesPerSecond": _whole(1, MOST),
        "serviceAccount": _closed(
            {"create": _boolean(), "name": _text(), "annotations": _texts(), "labels": _texts()},
        ),
        "podDisruptionBudget": _closed(
            {"enabled": _boolean_or_null(), "maxUnavailable": {"anyOf": [_whole(0), _text(r"^[0-9]+%$")]}}
        ),
        "autoscaling": _closed(
            {
                "enabled": _boolean(),
                "minReplicas": _whole(1, 1000),
                "maxReplicas": _whole(1, 1000),
                "targetCPUUtilizationPercentage": _whole_or_null(1),
                "targetMemoryUtilizationPercentage": _whole_or_null(1),
                "metrics": _list(_kubernetes()),
                "behavior": _kubernetes(),
                "annotations": _texts(),
                "labels": _texts(),
            }
        ),
        "networkPolicy": _closed(
            {
                "enabled": _boolean(),
                "callbackFrom": _list(_kubernetes()),
                "metricsFrom": _list(_kubernetes()),
                "adminFrom": _list(_kubernetes()),
            }
        ),
        "admin": _closed(
            {
                "enabled": _boolean(),
                "existingSecret": _text(),
                "tls": _closed({"existingSecret": _text()}),
                "service": _closed({"annotations": _texts(), "labels": _texts()}),
            }
        ),
        "metrics": _closed({"service": _closed({"enabled": _boolean(), "annotations": _texts(), "labels": _texts()})}),
        "nameOverride": _text(),
        "fullnameOverride": _text(),
        "namespaceOverride": _text(),
        "commonLabels": _texts(),
        "updateStrategy": _kubernetes(),
        "revisionHistoryLimit": _whole(0),
        "terminationGracePeriodSeconds": _whole(0),
        "priorityClassName": _text(),
        "podAnnotations": _texts(),
        "podLabels": _texts(),
        "podSecurityContext": _kubernetes(),
        "securityContext": _kubernetes(),
        "resources": resources,
        "livenessProbe": _kubernetes(),
        "readinessProbe": _kubernetes(),
        "nodeSelector": _texts(),
        "tolerations": _list(_kubernetes()),
        "affinity": _kubernetes(),
        "topologySpreadConstraints": _list(_kubernetes()),
        "extraEnv": _list(_kubernetes()),
        "extraEnvFrom": _list(_kubernetes()),
        "extraVolumes": _list(_kubernetes()),
        "extraVolumeMounts": _list(_kubernetes()),
        "extraObjects": _list({"anyOf": [_text(), _kubernetes()]}),
    }
    title = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Mail Push"}
    return title | {"type": "object", "properties": properties}


def known() -> Schema:
    """What the templates have to know of values and properties.

    `values`: the keys at the top. `fields`: for a property of OX's the fields of the MailPushConfig's spec that say the
    same. `secrets`: for a property that must not stand in a ConfigMap the field that names a Secret instead.
    """
    fields: dict[str, list[str]] = {}
    for setting in SETTINGS:
        if setting.key and setting.key.startswith("com.openexchange.") and not setting.secret:
            fields.setdefault(setting.key, []).append(setting.field)
    fields[keys.ALLOWED_CLIENT] = fields[keys.ALLOWED_CLIENTS]
    values = [key for key in values_schema().get("properties", {}) if key not in {"global", "enabled"}]
    return {"values": values, "fields": fields, "secrets": SECRET_PROPERTIES}


def _spec() -> Schema:
    """The MailPushConfig's spec. Toggles are the templates' business: they can name the key and the value."""
    spec = closed_spec_schema()
    spec.pop("$schema", None)
    spec["properties"]["features"] = _closed({"status": {"type": "object"}})
    # The templates say which list is wrong, and where.
    spec["properties"]["packages"] = _closed({"status": {"type": "object"}, "whitelist": {}})
    return spec


def generated() -> dict[Path, str]:
    """Each file that is generated, with its content."""
    files = {CHART / "values.schema.json": json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n"}
    files[CHART / "files" / "known.json"] = json.dumps(known(), indent=2) + "\n"
    for source in sorted(CRDS.glob("*.yaml")):
        files[CHART / "files" / "crds" / source.name] = source.read_text(encoding="utf-8")
    return files


def stale() -> list[str]:
    """What differs from what would be generated, and what should not be there, as paths within the repository."""
    wanted = generated()
    found = {*(CHART / "files").rglob("*.*"), CHART / "values.schema.json"}
    differing = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return [str(path.relative_to(ROOT)) for path in sorted({*differing, *(found - wanted.keys())})]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    options = parser.parse_args(arguments)
    differing = stale()
    if options.check:
        for name in differing:
            sys.stderr.write(f"{name} is not what the models give: run `make schema`\n")
        return 1 if differing else 0
    wanted = generated()
    for path in {ROOT / name for name in differing} - wanted.keys():
        path.unlink(missing_ok=True)
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
