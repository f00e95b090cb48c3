"""Background coding agents on your own keys, with a spending cap that holds."""

__version__ = "0.1.0"
