"""Job rows at work: leases, attempts, workers, and their transport."""
