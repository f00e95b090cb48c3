"""The books in a PostgreSQL database, for many machines."""
