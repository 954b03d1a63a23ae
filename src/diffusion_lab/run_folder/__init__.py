"""The folder of a run: its config, manifest, fingerprint, environment, code patch and record."""
