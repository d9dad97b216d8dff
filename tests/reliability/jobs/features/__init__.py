"""Feature modules of the reliability tests."""
