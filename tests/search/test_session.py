"""A session of a search: the resources of its workers, and what it shows."""

import io
import sys

import pytest
from optuna.trial import TrialState

from diffusion_lab import console
from diffusion_lab.errors import LabError
from diffusion_lab.machine.cores_and_gpus import Gpu
from diffusion_lab.machine.resource_pool import Pool
from diffusion_lab.search import search_report, session
from diffusion_lab.search.search_objectives import Objective
from diffusion_lab.search.study import SharedStudy
from diffusion_lab.search.trial_attributes import ERROR
from diffusion_lab.search.trial_table import TrialTable
from searches import small_spec

ON_GPU = {"accelerator": "gpu", "devices": 1}


@pytest.fixture
def four_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr(session, "gpus", lambda count: [Gpu(str(index), f"gpu-{index}") for index in range(4)])
    monkeypatch.setattr(session, "Pool", lambda: Pool(tmp_path / "locks"))


def visible(environments):
    return [environment["CUDA_VISIBLE_DEVICES"] for environment in environments]


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(session, "cores", lambda: 7)
    with session.worker_environments({"accelerator": "cpu", "devices": 1}, 3) as environments:
        assert environments == [{"OMP_NUM_THREADS": "2"}] * 3


def test_a_number_of_threads_that_is_set_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with session.worker_environments({"accelerator": "cpu", "devices": 1}, 3) as environments:
        assert environments == [{}] * 3


def test_each_worker_has_gpus_of_its_own_even_with_two_searches(four_gpus):
    with session.worker_environments(ON_GPU, 2) as first, session.worker_environments(ON_GPU, 2) as second:
        assert sorted(visible(first) + visible(second)) == ["0", "1", "2", "3"]
    with session.worker_environments({"accelerator": "gpu", "devices": 2}, 2) as pairs:
        assert visible(pairs) == ["0,1", "2,3"]


def test_more_gpus_than_are_free_are_refused(four_gpus):
    with (
        session.worker_environments(ON_GPU, 3),
        pytest.raises(
            LabError, match=r"search\.workers=2: the workers need 2 GPUs, but fewer of this machine's 4 are free"
        ),
        session.worker_environments(ON_GPU, 2),
    ):
        pass
    with pytest.raises(LabError, match="the workers need 5 GPUs"), session.worker_environments(ON_GPU, 5):
        pass


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("search.storage=postgresql://me:hush@host/db", "search.storage=postgresql://me:***@host/db"),
        ("search.storage=${oc.env:STORAGE}", "search.storage=${oc.env:STORAGE}"),
        ("search.storage=postgresql://me:${oc.env:WORD}@host/db", "search.storage=postgresql://me:${oc.env:WORD}@host/db"),
        ("search.storage=postgresql://me:hush@host/${oc.env:DB}", "search.storage=postgresql://me:***@host/${oc.env:DB}"),
        ("search.storage=postgresql://h/${oc.env:DB}?password=hush", "search.storage=postgresql://h/${oc.env:DB}?password=***"),
        ("search.name=a", "search.name=a"),
    ],
)  # fmt: skip
def test_the_command_that_continues_the_search_is_shown_without_the_password(tmp_path, typed, shown):
    spec = small_spec(tmp_path, storage="postgresql://me:hush@host/db")
    assert session._without_password(typed, spec) == shown


@pytest.fixture
def shared(tmp_path):
    """A search of two objectives with four trials: two on the front, one beaten, one failed."""
    spec = small_spec(tmp_path, objectives=[Objective("val/loss"), Objective("seconds")], pruner="median")
    view = SharedStudy(spec)
    for values in ((0.1, 9.0), (0.2, 3.0), (0.3, 4.0)):
        view.study.tell(view.ask(), values)
    failed = view.ask()
    failed.set_user_attr(ERROR, "the loss was no number")
    view.study.tell(failed, state=TrialState.FAIL)
    yield view
    view.close()


def test_with_several_objectives_the_pareto_front_is_shown_and_drawn(shared, capsys, tmp_path):
    with console.use(console.Text()):
        search_report.warn_of_unused_pruner(shared.spec)
        search_report.show_result(shared.spec, shared)
    told = capsys.readouterr()
    assert "search.pruner=median has no effect" in told.err
    assert "4 of 4 trials have ended (1 failed)" in told.out
    assert "2 of them are on the Pareto front" in told.out
    assert "trial 0: val/loss 0.1, seconds 9" in told.out
    assert "trial 1: val/loss 0.2, seconds 3" in told.out
    assert "trial 2:" not in told.out
    drawn = {path.name for path in (tmp_path / "search" / "small" / "figures").iterdir()}
    assert drawn == {
        "history_val_loss.png",
        "history_seconds.png",
        "slices_val_loss.png",
        "slices_seconds.png",
        "importances.png",
        "pareto_front.png",
    }


def test_a_search_in_which_nothing_finished_says_why(tmp_path):
    view = SharedStudy(small_spec(tmp_path, n_trials=1))
    failed = view.ask()
    failed.set_user_attr(ERROR, "the loss was no number")
    view.study.tell(failed, state=TrialState.FAIL)
    with pytest.raises(LabError, match=r"none of the 1 trials finished; the last error was: the loss was no number"):
        search_report.show_result(view.spec, view)
    view.close()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_the_running_trials_are_redrawn(tmp_path, monkeypatch, capsys):
    view = SharedStudy(small_spec(tmp_path, n_trials=3))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    table = TrialTable(view.spec, view.study)
    with console.use(console.Text()):
        first, second = view.ask(), view.ask()
        first.report(0.75, 1)
        table.update(view.trials())
        drawn = terminal.getvalue()
        assert "    0  running" in drawn
        assert "0.75" in drawn
        assert drawn.splitlines()[-1] == "0 of 3 trials have ended, 2 are running"
        view.study.tell(first, 0.5)
        table.update(view.trials())
        erased, again = terminal.getvalue()[len(drawn) :].split("\x1b[J")
        assert erased == f"\x1b[{drawn.count(chr(10))}A"
        assert "    1  running" in again
        assert "    0  running" not in again
        assert again.endswith("1 of 3 trials have ended, 1 is running; best: trial 0 with val/loss 0.5\n")
        view.study.tell(second, 0.25)
        table.update(view.trials())
        table.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["trial", "val/loss", "time", "lr", "schedule"]
    assert [line.split()[:3] for line in lines[1:]] == [["0*", "finished", "0.5"], ["1*", "finished", "0.25"]]
    assert len(set(map(len, lines))) == 1
    view.close()
