"""Many runs, to find the best of them: what Optuna asks for is trained, pruned, stored and shown."""
