"""The parts of `scripts/token_samplers.py`."""
