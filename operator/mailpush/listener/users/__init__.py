"""The users of this pod's slots: watched, listened for, reported."""
