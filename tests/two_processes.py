"""A function of a test in two processes, of which the test's own is rank 0. No test."""

from datetime import timedelta

import pytest
from torch import distributed

from doors import SERVER


def in_two_processes(work, folder, *arguments):
    """Call `work(rank, folder, *arguments)` in this process and in another; return what both return, rank 0 first.

    A strategy of Lightning's for two devices then starts no processes of its own.

    Args:
        work: a function of a module, whose result holds no tensors on rank 1: their memory would end with the process.
        folder: an empty one, through which the processes find each other.
        arguments: more arguments.
    """
    ours, theirs = SERVER.Pipe(duplex=False)
    # Not a fork of this process, which may have threads of the communication of an earlier test.
    other = SERVER.Process(target=_as_rank, args=(1, theirs, work, folder, *arguments))
    other.start()
    theirs.close()
    try:
        return _as_rank(0, None, work, folder, *arguments), ours.recv()
    finally:
        other.kill()
        other.join()


def _as_rank(rank, answer, work, folder, *arguments):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        distributed.init_process_group(
            "gloo", f"file://{folder}/processes", timeout=timedelta(seconds=30), rank=rank, world_size=2
        )
        try:
            returned = work(rank, folder, *arguments)
        finally:
            distributed.destroy_process_group()
    if answer is not None:
        answer.send(returned)
    return returned
