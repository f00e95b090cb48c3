"""`crewcap usage`: what was spent without crewcap, from agents' own transcripts."""
