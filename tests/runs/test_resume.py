"""What may be changed of a run that is resumed, from what it goes on, and which signals stop it."""

import os
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffusion_lab.config.build import build
from diffusion_lab.errors import LabError, RunInterrupted
from diffusion_lab.run_folder.folder import RunFolder
from diffusion_lab.run_folder.layout import LAYOUT_VERSION
from diffusion_lab.runs import resume
from diffusion_lab.runs.train import train
from diffusion_lab.training import graceful_interrupt
from diffusion_lab.training.checkpoints import Checkpoints
from diffusion_lab.training.step_losses import read_step_losses


class SignalAt(pl.Callback):
    """Sends this process a signal in the middle of a step."""

    def __init__(self, step, number):
        self.step, self.number = step, number

    def on_before_optimizer_step(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


def checkpoints(folder):
    return sorted(path.name for path in (folder.path / "checkpoints").iterdir())


def stopped(cfg, step=5, number=signal.SIGINT):
    """The folder of a run that a signal stopped, and what it ended with."""
    with pytest.raises(RunInterrupted) as ended:
        train(cfg, [], callbacks=[SignalAt(step, number)])
    (path,) = (Path(cfg.paths.output_dir) / "tiny").iterdir()
    return RunFolder(path), ended.value


def resumed(tiny, folder, *changes):
    return train(tiny(f"resume={folder.path}"), [f"resume={folder.path}", *changes])


@pytest.mark.slow
def test_a_retention_rule_keeps_the_newest_states_and_null_keeps_all(tiny, tmp_path):
    saving = "callbacks.checkpoints.every_n_steps=1"
    one = train(tiny(saving, "callbacks.checkpoints.keep=1", f"paths.output_dir={tmp_path}/1"), [])
    three = train(tiny(saving, "callbacks.checkpoints.keep=3", f"paths.output_dir={tmp_path}/3"), [])
    every = train(tiny(saving, "callbacks.checkpoints.keep=null", f"paths.output_dir={tmp_path}/all"), [])
    assert checkpoints(one) == ["best.ckpt", "last.ckpt"]
    assert checkpoints(three) == ["best.ckpt", "last.ckpt", "step_00000006.ckpt", "step_00000007.ckpt"]
    assert checkpoints(every) == ["best.ckpt", "last.ckpt", *(f"step_{n:08d}.ckpt" for n in range(1, 8))]
    for number in (1, 4, 7):
        state = torch.load(every.path / "checkpoints" / f"step_{number:08d}.ckpt", weights_only=True)
        assert state["global_step"] == number


def test_minutes_are_a_reason_to_save(tiny, monkeypatch):
    """A clock on which each look takes a minute."""
    now = iter(range(0, 10**6, 60))
    monkeypatch.setattr("diffusion_lab.training.checkpoints.time.monotonic", lambda: next(now))
    rare = tiny("callbacks.checkpoints.every_n_minutes=2.5", "callbacks.checkpoints.keep=null", "trainer.max_epochs=1")
    assert len(checkpoints(train(rare, []))) > 2
    with pytest.raises(LabError, match=r"every_n_minutes must be above 0"):
        train(tiny("callbacks.checkpoints.every_n_minutes=0"), [])


def flip(path):
    """One bit of the weights, which torch would read without a word."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def test_of_processes_that_look_at_once_only_rank_0_moves_what_is_damaged(tiny, monkeypatch):
    folder, _ = stopped(tiny("callbacks.checkpoints.every_n_steps=1"))
    last, earlier = (folder.path / "checkpoints" / name for name in ("last.ckpt", "step_00000005.ckpt"))
    cut(last)
    before = checkpoints(folder)
    monkeypatch.setattr(resume, "is_rank_zero", lambda: False)
    assert resume.last_good_checkpoint(folder) == earlier
    assert checkpoints(folder) == before
    monkeypatch.setattr(resume, "is_rank_zero", lambda: True)
    assert resume.last_good_checkpoint(folder) == last
    assert checkpoints(folder) == sorted([*before, "last.damaged"])  # what the others may have found is still there
    assert resume.last_good_checkpoint(folder) == last


@pytest.mark.slow
def test_what_a_killed_process_had_half_written_is_removed(tiny):
    folder, _ = stopped(tiny())
    half = [folder.path / ".manifest.json.1.tmp", folder.path / "checkpoints" / ".last.ckpt.1.tmp"]
    for path in half:
        path.write_bytes(b"half")
    resumed(tiny, folder)
    assert not any(path.exists() for path in half)


def test_tensorboard_keeps_the_figures_of_the_steps_before_and_no_later_loss(tmp_path):
    for killed in (True, False):
        logger = TensorBoardLogger(tmp_path, name="", version="")
        if not killed:
            resume.rewind_logs([logger], 4)
        if killed:
            logger.experiment.add_scalar("figure", 1, 4)
        logger.experiment.add_scalar("loss", 1, 4 if killed else 5)
        if killed:
            logger.experiment.add_scalar("loss", 1, 5)
            logger.experiment.add_scalar("figure", 1, 8)
        logger.experiment.close()
    seen = EventAccumulator(str(tmp_path)).Reload()
    assert 4 in [point.step for point in seen.Scalars("figure")]
    assert 8 not in [point.step for point in seen.Scalars("figure")]
    assert [point.step for point in seen.Scalars("loss")] == [4, 5]


def test_where_the_data_lie_now_is_recorded_for_any_working_directory(tiny, monkeypatch, tmp_path):
    folder, _ = stopped(tiny())
    monkeypatch.chdir(tmp_path)
    assert resume.resumed_settings(folder, ["paths.data_dir=there"]).paths.data_dir == str(tmp_path / "there")


@pytest.mark.parametrize("data", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("old", [True, False])
def test_the_data_are_read_where_the_resumed_run_is_told_that_they_lie(settings, tmp_path, data, old):
    folder = RunFolder.create(tmp_path / "outputs", "x")
    there = tmp_path / "there"
    config = settings(f"data={data}", f"paths.data_dir={there}").as_node()
    if old:  # as it was recorded before data took paths.data_dir by itself
        config["data"]["data_dir"] = str(there)
    folder.write_config(config, [])
    folder.write_json("manifest.json", {"layout_version": LAYOUT_VERSION, "status": "interrupted"})
    moved = resume.resumed_settings(folder, [f"paths.data_dir={tmp_path}/moved"])
    assert build(moved).data.data_dir == tmp_path / "moved"
    there.mkdir()
    assert build(resume.resumed_settings(folder, [])).data.data_dir == there


def test_no_folder_of_data_is_made_because_a_run_folder_names_it(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUSION_LAB_DATA_DIR", str(tmp_path / "usual"))
    folder = RunFolder.create(tmp_path / "outputs", "x")
    folder.write_config(settings("data=mnist", f"paths.data_dir={tmp_path}/theirs").as_node(), [])
    folder.write_json("manifest.json", {"layout_version": LAYOUT_VERSION, "status": "interrupted"})
    assert build(resume.resumed_settings(folder, [])).data.data_dir == tmp_path / "usual"


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_last_checkpoint_is_reported_and_the_one_before_it_used(tiny, tmp_path, damage, capsys):
    folder, _ = stopped(tiny("callbacks.checkpoints.every_n_steps=1", f"paths.output_dir={tmp_path}/stopped"))
    assert "step_00000005.ckpt" in checkpoints(folder)
    damage(folder.path / "checkpoints" / "last.ckpt")
    resumed(tiny, folder)
    out, err = capsys.readouterr()
    assert "last.ckpt is damaged" in err
    assert "renamed to last.damaged" in err
    assert "going on from step_00000005.ckpt" in out
    whole = train(tiny(f"paths.output_dir={tmp_path}/whole"), [])
    assert (read_step_losses(folder.path) == read_step_losses(whole.path)).all()
    assert folder.read_json("manifest.json")["weights"] == whole.read_json("manifest.json")["weights"]


def test_where_all_are_damaged_one_line_says_so_and_nothing_is_moved(tiny):
    folder, _ = stopped(tiny("callbacks.checkpoints.every_n_steps=1"))
    for path in (folder.path / "checkpoints").glob("*.ckpt"):
        cut(path)
    before = checkpoints(folder)
    with pytest.raises(LabError, match=r"last\.ckpt is damaged.*no earlier checkpoint can be used"):
        resumed(tiny, folder)
    assert checkpoints(folder) == before


@pytest.mark.slow
def test_a_run_that_had_saved_nothing_begins_anew_in_its_folder(tiny, tmp_path, capsys):
    whole = train(tiny(f"paths.output_dir={tmp_path}/whole"), [])
    folder, _ = stopped(tiny(f"paths.output_dir={tmp_path}/stopped"))
    for path in (folder.path / "checkpoints").iterdir():
        path.unlink()
    assert resumed(tiny, folder).path == folder.path
    assert "starts from the beginning" in capsys.readouterr().out
    assert (read_step_losses(folder.path) == read_step_losses(whole.path)).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimizer.lr=1", r"optimizer\.lr=1: a resumed run goes on with its own config"),
        ("seed=7", "seed=7: a resumed run"),
        ("callbacks.samples.every_n_epochs=1", "a resumed run"),
        ("trainer.max_epochs=1", "trainer.max_epochs=1: it was 2, and the limit of a resumed run can only be raised"),
    ],
)
def test_what_would_make_another_run_of_it_is_refused_by_name(tiny, change, said):
    folder, _ = stopped(tiny())
    with pytest.raises(LabError, match=said):
        resumed(tiny, folder, change)


@pytest.mark.slow
def test_what_decides_nothing_may_be_changed(tiny):
    folder, _ = stopped(tiny())
    changes = ["callbacks.checkpoints.every_n_steps=1", "callbacks.checkpoints.keep=null", "notes=longer"]
    resumed(tiny, folder, *changes)
    assert "step_00000007.ckpt" in checkpoints(folder)
    assert folder.read_config()["notes"] == "longer"


def test_a_limit_from_which_something_was_derived_is_not_raised(tiny):
    derived = "lr_schedule.decay_steps=${trainer.max_steps}"
    cfg = tiny("lr_schedule=warmup_cosine", "lr_schedule.warmup_steps=1", "trainer.max_steps=6", derived)
    folder = train(cfg, ["trainer.max_steps=6", derived])
    with pytest.raises(LabError, match=r"trainer\.max_steps=8: lr_schedule\.decay_steps=.* was derived from it"):
        resumed(tiny, folder, "trainer.max_steps=8")


@pytest.mark.slow
@pytest.mark.parametrize("first", [4, 6])
def test_more_steps_are_those_that_a_longer_run_would_have_made(tiny, tmp_path, first):
    """A limit at an epoch's end, and one in its middle."""
    folder = train(tiny("trainer.max_epochs=null", f"trainer.max_steps={first}", f"paths.output_dir={tmp_path}/1"), [])
    resumed(tiny, folder, "trainer.max_steps=10")
    whole = train(tiny("trainer.max_epochs=null", "trainer.max_steps=10", f"paths.output_dir={tmp_path}/2"), [])
    assert (read_step_losses(folder.path) == read_step_losses(whole.path)).all()
    one, other = (run.read_json("manifest.json")["weights"] for run in (folder, whole))
    assert one == other
    epochs = [run.read_json("metrics.json")["epochs"] for run in (folder, whole)]
    assert epochs[0] == epochs[1]


@pytest.mark.slow
def test_epochs_that_a_limit_cuts_short_are_no_matter_to_a_run_that_is_trained_on(tiny, tmp_path):
    limited = "trainer.limit_train_batches=3"
    folder = train(tiny(limited, f"paths.output_dir={tmp_path}/1"), [])
    resumed(tiny, folder, "trainer.max_epochs=4")
    whole = train(tiny(limited, "trainer.max_epochs=4", f"paths.output_dir={tmp_path}/2"), [])
    assert len(read_step_losses(whole.path)) == 12
    assert (read_step_losses(folder.path) == read_step_losses(whole.path)).all()


@pytest.mark.slow
def test_a_loader_that_is_made_anew_each_epoch_goes_on_with_the_next_one(tiny, tmp_path):
    once = train(tiny("trainer.max_epochs=3", f"paths.output_dir={tmp_path}/1"), [])
    anew = "+trainer.reload_dataloaders_every_n_epochs=1"
    folder, _ = stopped(tiny(anew, "trainer.max_epochs=3", f"paths.output_dir={tmp_path}/2"))
    resumed(tiny, folder)
    assert (read_step_losses(folder.path) == read_step_losses(once.path)).all()


@pytest.mark.slow
def test_two_processes_do_not_train_in_one_folder(tiny):
    folder, _ = stopped(tiny())
    with folder.held(), pytest.raises(LabError, match="is being trained by another process"):
        resumed(tiny, folder)
    assert resumed(tiny, folder).path == folder.path


def test_other_data_is_refused(tiny):
    folder, _ = stopped(tiny())
    manifest = folder.read_json("manifest.json")
    manifest["data"]["val"] = "0" * 32
    folder.write_json("manifest.json", manifest)
    with pytest.raises(LabError, match="the val data differs from the data that"):
        resumed(tiny, folder)


@pytest.mark.slow
def test_other_versions_and_threads_are_told(tiny, capsys):
    folder, _ = stopped(tiny())
    manifest = folder.read_json("manifest.json")
    manifest["sessions"][0]["versions"]["torch"] = "1.0"
    folder.write_json("manifest.json", manifest)
    resumed(tiny, folder)
    assert f"the run goes on with torch {torch.__version__.split('+')[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_ends_with_a_status_of_its_own(tiny, number, status):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    folder, ended = stopped(tiny(), number=number)
    assert ended.status == status
    assert "resume=" in str(ended)
    assert folder.read_json("manifest.json")["status"] == "interrupted"
    state = torch.load(folder.path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 6
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    """As in a job of SLURM, whose scontrol writes down what it is asked."""
    for name, value in {"JOB_ID": 77, "NTASKS": 1, "JOB_NAME": "train", "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("SLURM_NODELIST", "localhost")
    control = tmp_path / "bin" / "scontrol"
    control.parent.mkdir()
    control.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{control.parent}{os.pathsep}{os.environ['PATH']}")
    return control


@pytest.mark.slow
def test_slurm_s_signal_saves_and_requeues_and_the_job_goes_on_by_itself(tiny, tmp_path, slurm, monkeypatch):
    cfg = tiny(f"paths.output_dir={tmp_path}/runs")
    folder, ended = stopped(cfg, number=signal.SIGUSR1)
    assert ended.status == 128 + signal.SIGUSR1
    assert (tmp_path / "asked").read_text() == "requeue 77\n"
    # SLURM starts the same command again.
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert resume.find_requeued_run(cfg, ["seed=3"]) is None  # another run of the same job's sweep
    assert train(cfg, []).path == folder.path
    assert folder.read_json("manifest.json")["status"] == "finished"
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    assert train(cfg, []).path != folder.path
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name)
    whole = train(tiny(f"paths.output_dir={tmp_path}/whole"), [])
    assert (read_step_losses(folder.path) == read_step_losses(whole.path)).all()


def test_a_queue_that_does_not_take_the_job_back_is_told(tiny, tmp_path, slurm):
    slurm.write_text("#!/bin/sh\necho 'Requested operation is presently disabled' >&2; exit 1\n")
    with pytest.raises(LabError, match=r"the state is saved, but SLURM did not requeue job 77: .*presently disabled"):
        train(tiny(), [], callbacks=[SignalAt(5, signal.SIGUSR1)])
    (path,) = (tmp_path / "tiny").iterdir()
    assert (path / "checkpoints" / "last.ckpt").is_file()


def test_the_queue_knows_an_array_s_job_by_two_numbers(monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert graceful_interrupt.slurm_job() == "5_2"


@pytest.mark.parametrize(("key", "value"), [("every_n_epochs", 0), ("every_n_steps", 0), ("keep", 0)])
def test_what_checkpoints_refuse(key, value):
    with pytest.raises(ValueError, match=rf"callbacks\.checkpoints\.{key} must be at least 1"):
        Checkpoints(**{key: value})
