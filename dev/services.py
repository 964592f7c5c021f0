"""The services that tests use without pods: a real Dovecot, a real Redis and a receiver of webhooks."""

from dev.dovecot import Dovecot
from dev.redis_server import Redis
from dev.webhook import Received, WebhookReceiver

__all__ = ["Dovecot", "Received", "Redis", "WebhookReceiver"]
