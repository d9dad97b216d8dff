"""What the watch is worth, on data whose truth is known: ``make simulate``."""
