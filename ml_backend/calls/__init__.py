"""The ledger of calls: events, states, consent, pseudonyms and tombstones."""
