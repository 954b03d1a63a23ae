"""Found by Hydra, which looks for its plugins in packages of this place."""
