"""Is it the same run? Reproduce one, or kill and resume one, and compare step by step."""
