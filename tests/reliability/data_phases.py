"""How far a job has come when it is killed."""

READING, WRITING, COMMITTING, COMMITTED = PHASES = ("before it writes", "while it writes", "between commits", "after the commits")
