"""Many runs: the jobs of `-m`, each in a process of its own, side by side on one machine or on many."""
