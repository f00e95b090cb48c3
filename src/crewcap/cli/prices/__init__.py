"""`crewcap price`: what a token costs, since when, and what history would cost at other prices."""
