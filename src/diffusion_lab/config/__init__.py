"""From YAML to objects: the command line, the checks, and the one place that instantiates."""
