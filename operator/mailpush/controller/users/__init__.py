"""The PushUsers: kept in memory, labelled, judged."""
