"""`crewcap ledger`: the books themselves, and what is uncertain in them."""
