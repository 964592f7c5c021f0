"""Claims: the right to send a notification, kept in Redis or in process memory."""
