"""Whole searches: several processes with one storage, of which some are interrupted and some are killed."""

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from conftest import TINY
from diffusion_lab.config.tree import conf_dir
from diffusion_lab.runs.train import train
from diffusion_lab.search.storage import with_driver
from diffusion_lab.search.study import SharedStudy
from diffusion_lab.search.trial_attributes import RUN_FOLDER, VALIDATED_AT, WORKER
from diffusion_lab.sweeps.compose_run import compose_run
from searches import small_spec

SPACE = {"optimizer": "choice(adam, adamw)", "optimizer.weight_decay": "interval(0.0, 0.1)"}
#: Long enough to be interrupted in the middle.
EPOCHS = 60


@pytest.fixture
def planned(tmp_path):
    """The spec of the search that scripts/search.py runs with the arguments `typed`."""
    fixed = [*TINY, "logger=none", f"trainer.max_epochs={EPOCHS}", f"paths.output_dir={tmp_path}/outputs"]
    storage = f"sqlite:///{tmp_path}/outputs/search/small/study.db"
    return small_spec(
        tmp_path, fixed=fixed, space=SPACE, outputs=f"{tmp_path}/outputs/search", storage=storage, heartbeat=1
    )


def typed(spec, *more):
    """Return the arguments of scripts/search.py for `spec`."""
    typed = [f"search.{key}={getattr(spec, key)}" for key in ("name", "n_trials", "sampler", "pruner", "heartbeat")]
    space = [f"{key}={text}" for key, text in spec.space.items()]
    return [*spec.fixed, "search=typed", *typed, *space, f"search.storage={spec.storage}", *more]


class Session:
    """A process of scripts/search.py, in a session of its own."""

    def __init__(self, spec, *more):
        script = conf_dir().parent / "scripts" / "search.py"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, script, *typed(spec, *more)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def ended(self, timeout=300):
        """Wait for its end, and return its exit status, stdout and stderr."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


@pytest.fixture
def session():
    """A function that starts sessions; those that are left are killed after the test."""
    started = []

    def start(spec, *more):
        started.append(Session(spec, *more))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@contextlib.contextmanager
def looked_at(spec):
    """The Optuna study of a spec, read from outside of its workers."""
    until = time.monotonic() + 120
    while True:
        with contextlib.suppress(Exception):
            study = optuna.load_study(study_name=spec.name, storage=with_driver(spec.storage))
            break
        assert time.monotonic() < until, "there is no study"
        time.sleep(0.2)
    yield study
    study._storage.remove_session()
    study._storage._backend.engine.dispose()


def waited_for(look, what, timeout=240):
    """Call `look` until it returns something true, and return that."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not seen: {what}")


def training(study):
    """Return a running trial that has validated twice and is not near its end, or None."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if 2 <= len(trial.user_attrs.get(VALIDATED_AT, [])) < EPOCHS // 2:
            return trial
    return None


def finished(study):
    return {t.number: t.values for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}


def owner(trial):
    return int(trial.user_attrs[WORKER].rpartition(":")[2])


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"


def counted(spec):
    shared = SharedStudy(spec)
    try:
        return shared.trials()
    finally:
        shared.close()


def sessions(trial):
    manifest = json.loads((Path(trial.user_attrs[RUN_FOLDER]) / "manifest.json").read_text())
    return [part.get("status") for part in manifest["sessions"]]


def equals_an_uninterrupted_run(spec, trial):
    """Return whether the trial's run has the same weights as an uninterrupted run."""
    whole = train(compose_run(spec.overrides(trial.params))[0], []).read_json("manifest.json")
    return json.loads((Path(trial.user_attrs[RUN_FOLDER]) / "manifest.json").read_text())["weights"] == whole["weights"]


@pytest.mark.full
def test_a_killed_worker_is_replaced_and_its_trial_is_resumed(planned, session):
    one = session(planned, "search.workers=2")
    with looked_at(planned) as study:
        victim = waited_for(lambda: training(study), "a trial that trains")
        os.kill(owner(victim), signal.SIGKILL)
    status, out, err = one.ended()
    assert (status, err) == (0, ""), err
    assert "was ended by SIGKILL; another one replaces it" in out
    trials = counted(planned)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    (resumed,) = [trial for trial in trials if trial.user_attrs[RUN_FOLDER] == victim.user_attrs[RUN_FOLDER]]
    assert resumed.params == victim.params
    assert sessions(resumed) == [None, "finished"]
    assert equals_an_uninterrupted_run(planned, resumed)
    assert out.count("finished ") == 4


@pytest.mark.full
def test_a_session_that_is_killed_with_its_workers_loses_no_finished_trial(planned, session):
    one = session(planned, "search.workers=2")
    with looked_at(planned) as study:
        waited_for(lambda: finished(study) and training(study), "a finished trial and another that trains")
        workers = {owner(t) for t in study.get_trials(states=(TrialState.RUNNING,)) if WORKER in t.user_attrs}
        for pid in (one.process.pid, *workers):
            os.kill(pid, signal.SIGKILL)
        before = finished(study)
    status, _, err = session(planned, "search.workers=2").ended()
    assert (status, err) == (0, ""), err
    trials = counted(planned)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert before.items() <= {trial.number: trial.values for trial in trials}.items()
    assert all(sessions(trial)[-1] == "finished" for trial in trials)


@pytest.mark.full
def test_workers_whose_session_is_killed_save_and_end(planned, session):
    one = session(planned)
    with looked_at(planned) as study:
        trial = waited_for(lambda: training(study), "a trial that trains")
        one.process.kill()
        waited_for(lambda: gone(owner(trial)), "the worker's end")
    (waiting,) = counted(planned)
    assert waiting.state == TrialState.WAITING
    assert sessions(waiting) == ["interrupted"]


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_all_trials_and_the_printed_command_continues_the_search(planned, session, number):
    one = session(planned, "search.workers=2")
    with looked_at(planned) as study:
        trial = waited_for(lambda: training(study), "a trial that trains")
    one.process.send_signal(number)
    status, _, err = one.ended()
    assert status == 128 + number
    stopping, line = [line for line in err.splitlines() if line]
    assert stopping.startswith("Stopping after the current steps")
    assert line.startswith("Interrupted: ")
    assert gone(owner(trial))
    assert TrialState.RUNNING not in {trial.state for trial in counted(planned)}
    command = shlex.split(line.partition("To go on: ")[2])
    assert command[0] == "python"
    again = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, timeout=300)
    assert (again.returncode, again.stderr) == (0, ""), again.stderr
    trials = counted(planned)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    (resumed,) = [t for t in trials if t.user_attrs[RUN_FOLDER] == trial.user_attrs[RUN_FOLDER]]
    assert sessions(resumed) == ["interrupted", "finished"]
    assert equals_an_uninterrupted_run(planned, resumed)


@pytest.mark.full
def test_two_sessions_started_at_the_same_time_share_a_search(planned, session):
    both = [session(planned), session(planned)]
    for one in both:
        status, out, err = one.ended()
        assert (status, err) == (0, ""), err
        assert "4 of 4 trials have ended" in out
    trials = counted(planned)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert len({trial.user_attrs[WORKER] for trial in trials}) == 2
    assert len({trial.params["optimizer.weight_decay"] for trial in trials}) == 4


@pytest.mark.full
def test_a_worker_that_cannot_go_on_ends_the_search_in_one_line(planned, session):
    one = session(planned)
    with looked_at(planned) as study:
        waited_for(lambda: training(study), "a trial that trains")
    database = Path(planned.storage.removeprefix("sqlite:///"))
    database.write_bytes(b"no database any more " * 4096)
    status, _, err = one.ended()
    assert status == 1
    assert len(err.splitlines()) == 1, err
    assert err.startswith("Error: ")


BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@pytest.fixture
def server(tmp_path_factory):
    """The URL of a database, with a password, of a PostgreSQL server that lives as long as the test."""
    pytest.importorskip("psycopg2")
    folder = Path(BINARIES[-1]).parent
    home = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    # The server refuses to run as root.
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if user:
        shutil.chown(home, "postgres")
    (home / "password").write_text("hush-hush")
    (home / "password").chmod(0o644)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program, *arguments):
        done = subprocess.run(
            [*user, folder / program, *arguments], capture_output=True, text=True, cwd=home, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("initdb", "-D", home / "data", "-U", "lab", "-A", "scram-sha-256", "--pwfile", home / "password", "-N")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    run("pg_ctl", "-D", home / "data", "-l", home / "log", "-w", "-o", options, "start")
    try:
        yield f"postgresql://lab:hush-hush@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", home / "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(home)


@pytest.mark.full
@pytest.mark.skipif(not BINARIES, reason="no PostgreSQL server here (Debian: apt install postgresql)")
def test_machines_share_a_search_on_a_postgresql_server_and_one_of_them_is_lost(planned, session, server, tmp_path):
    spec = replace(planned, storage=server)
    both = [session(spec), session(spec)]
    with looked_at(spec) as study:
        victim = waited_for(lambda: finished(study) and training(study), "a finished trial and another that trains")
        os.kill(owner(victim), signal.SIGKILL)
        before = finished(study)
    outs = []
    for one in both:
        status, out, err = one.ended()
        assert (status, err) == (0, ""), err
        outs.append(out)
    trials = counted(spec)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert before.items() <= {trial.number: trial.values for trial in trials}.items()
    (resumed,) = [trial for trial in trials if trial.user_attrs[RUN_FOLDER] == victim.user_attrs[RUN_FOLDER]]
    assert sessions(resumed) == [None, "finished"]
    # The password is nowhere: not on the terminals, in no file of the search, in no table.
    assert not any("hush-hush" in out for out in outs)
    assert "storage     postgresql://lab:***@127.0.0.1" in outs[0]
    texts = {path: path.read_bytes() for path in (tmp_path / "outputs").rglob("*") if path.is_file()}
    # A patch may contain this file.
    assert [p for p, text in texts.items() if b"hush-hush" in text and p.suffix != ".patch"] == []
    with looked_at(spec) as study:
        assert "hush-hush" not in json.dumps([study.user_attrs, *(t.user_attrs for t in study.trials)])


def test_optunas_dashboard_opens_the_storage(tmp_path):
    dashboard = pytest.importorskip("optuna_dashboard")
    spec = small_spec(tmp_path)
    shared = SharedStudy(spec)
    for value in (0.5, 0.25):
        shared.study.tell(shared.ask(), value)
    shared.close()
    app = dashboard.wsgi(spec.storage)

    def get(path, query=""):
        answer = {}
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "x", "SERVER_PORT": "80"}
        environ |= {
            "QUERY_STRING": query,
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
        }
        body = app(environ, lambda status, headers, *_: answer.update(status=status))
        return answer["status"], json.loads(b"".join(body))

    status, listed = get("/api/studies")
    assert status.startswith("200")
    (study,) = listed["study_summaries"]
    assert study["study_name"] == "small"
    status, shown = get(f"/api/studies/{study['study_id']}", "after=0")
    assert [trial["values"] for trial in shown["trials"]] == [[0.5], [0.25]]
