"""What a run leaves on disk: its folder, config, manifest, fingerprint, environment and code."""
