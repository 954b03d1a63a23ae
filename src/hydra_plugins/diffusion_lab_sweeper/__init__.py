"""Package of the sweeper. Hydra finds its plugins in packages under `hydra_plugins`."""
