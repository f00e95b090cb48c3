"""The books in one SQLite file: any process of the machine may open it."""
