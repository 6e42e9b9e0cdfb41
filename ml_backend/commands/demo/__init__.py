"""`demo`: the whole system on one machine, started, supervised and stopped by one process."""
