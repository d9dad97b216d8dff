"""Operators, a module a subject. Each starts at most one AWS job, waits for its end without holding a worker, and tells it."""
