"""Runs beside each other: rows of equal configs, means over seeds, and how sure one can be."""
