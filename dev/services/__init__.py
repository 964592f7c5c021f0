"""The services that tests use without pods: a real Dovecot, a real Redis and a receiver of webhooks."""

from dev.services.dovecot import Dovecot
from dev.services.redis import Redis
from dev.services.webhook import Received, WebhookReceiver

__all__ = ["Dovecot", "Received", "Redis", "WebhookReceiver"]
