"""A folder for PYTHONPATH: what lies in it is imported by every process of a night's serve."""
