"""From settings to the targets of notifications."""

import structlog

from mailpush.notifications.transports.webhook import WebhookTarget
from mailpush.properties.settings import Settings
from mailpush.properties.signature_key import signature_key

log = structlog.get_logger(__name__)


def webhook_targets(settings: Settings) -> list[WebhookTarget]:
    """The targets of the settings. One that cannot be used is left out, with a log line that says why."""
    targets = []
    for webhook in settings.webhooks:
        try:
            target = WebhookTarget(
                name=webhook.name,
                url=webhook.url,
                secret=None if webhook.secret is None else signature_key(webhook.secret),
                matches=webhook.clients.match,
                timeout=webhook.timeout_ms / 1000,
                content=settings.notification.content,
            )
        except ValueError as error:
            log.warning("webhook_unusable", webhook=webhook.name, why=str(error))
        else:
            targets.append(target)
    return targets
