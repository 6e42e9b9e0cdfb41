"""The ledger of calls."""
