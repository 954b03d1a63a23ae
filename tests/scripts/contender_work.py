"""Work of contenders in tests of the benchmark; their processes import it, and nothing that takes long to import."""

import os


def log_each_step(name, path, tick):
    while True:
        with path.open("a") as file:
            file.write(f"{name} ")
        tick()


def break_down(tick):
    tick()
    raise RuntimeError("out of order")


def vanish(tick):
    tick()
    os._exit(3)
