"""A MailPushConfig into its children."""
