"""Sweeps (`-m`): many training runs, each a job in its own process, on this machine or on a SLURM cluster."""
