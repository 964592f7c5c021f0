"""The decision: whether a permanent listener is to run for a user, and what keeps a MailPushConfig from working."""

from mailpush.decision.chain import ACCEPTED, CHECKS, REASONS, Decision, Refusal, Row, decide
from mailpush.decision.facts import SecretFacts, SiteFacts, UserFacts, login_of, site_facts, user_facts
from mailpush.decision.problems import Problem, config_problems, config_warnings

__all__ = [
    "ACCEPTED",
    "CHECKS",
    "REASONS",
    "Decision",
    "Problem",
    "Refusal",
    "Row",
    "SecretFacts",
    "SiteFacts",
    "UserFacts",
    "config_problems",
    "config_warnings",
    "decide",
    "login_of",
    "site_facts",
    "user_facts",
]
