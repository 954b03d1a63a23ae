"""Compare runs: rows of equal configs, means over seeds, intervals and significance tests."""
