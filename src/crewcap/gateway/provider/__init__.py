"""The way to a provider and back: one exchange, the attempts around it, and a provider's troubles."""
