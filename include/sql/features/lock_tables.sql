-- Two loads of one table queue here. AWS advises to lock at the start against error 1023
-- (redshift/latest/dg/c_serial_isolation-serializable-isolation-troubleshooting.html). But LOCK is ACCESS EXCLUSIVE and makes
-- readers wait too (r_LOCK.html), so what is locked are latches that nobody reads. LOCK is none of the statements that take
-- the transaction's snapshot (c_serial_isolation.html), so it has to be the first: the snapshot of who waited is then taken
-- after the other's commit, and this transaction changes nothing that changed under it. Both in one statement and always in this
-- order, so that nobody waits in a circle.
LOCK TABLE latches.features_{{ features().table }}, latches.labels_{{ features().table }}
