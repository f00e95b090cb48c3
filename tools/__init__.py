"""Small programs of the house: the lock files, the reference pages. Not a part of the package."""
