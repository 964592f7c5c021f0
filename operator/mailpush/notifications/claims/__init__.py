"""Who may send a notification: claims, in Redis or in process memory."""
