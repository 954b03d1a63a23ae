"""Output of each console on stdout and stderr."""

import json
import sys

import pytest

from diffusion_lab import console
from diffusion_lab.config import cli
from diffusion_lab.console import Bar, Console, Json, Quiet, Row, Text, duration, loss, use
from diffusion_lab.errors import LabError, RunInterrupted

ROWS = [Row("data", "some digits", {"train": 3}), Row("run folder", "outputs/a", "/x/outputs/a")]


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_people_get_an_aligned_table_and_the_lines_worth_reading(capsys):
    with use(Text()) as shown:
        shown.start(ROWS)
        shown.event("epoch", None, epoch=1)
        shown.event("epoch", "epoch 2", epoch=2)
        shown.note("fetching")
        shown.end("/x/outputs/a", "all done", metrics={})
    assert capsys.readouterr() == (
        "data        some digits\nrun folder  outputs/a\nepoch 2\nfetching\nall done\n",
        "",
    )


def test_quiet_leaves_the_path_and_nothing_else_on_stdout(capsys):
    with use(Quiet()) as shown:
        shown.start(ROWS)
        shown.event("epoch", "epoch 2", epoch=2)
        shown.note("fetching")
        shown.warning("this diverges")
        shown.end("/x/outputs/a", "all done", metrics={})
    assert capsys.readouterr() == ("/x/outputs/a\n", "Warning: this diverges\n")


def test_a_bar_leaves_warnings_alone(capsys):
    with use(Bar()) as shown:
        shown.start(ROWS)
        shown.event("epoch", "epoch 2", epoch=2)
        shown.note("fetching")
        shown.warning("this diverges")
        shown.end("/x/outputs/a", "all done", metrics={})
    assert capsys.readouterr() == ("", "Warning: this diverges\n")


def test_programs_get_an_object_per_line_with_every_event_and_every_digit(capsys):
    with use(Json()) as shown:
        shown.note("fetching")
        shown.start(ROWS)
        shown.event("epoch", None, epoch=1, loss=0.1234567890123456, worst=float("nan"), name="x", text="y")
        shown.warning("this diverges")
        shown.end("/x/outputs/a", "all done", metrics={"val/loss": float("inf")}, seconds=2.0)
    always = {"run_folder": "/x/outputs/a"}
    assert lines(capsys) == [
        {"event": "note", "text": "fetching"},
        {"event": "start", "data": {"train": 3}, **always},
        {"event": "epoch", "epoch": 1, "loss": 0.1234567890123456, "worst": None, "name": "x", "text": "y", **always},
        {"event": "note", "level": "warning", "text": "this diverges", **always},
        {"event": "end", "path": "/x/outputs/a", "metrics": {"val/loss": None}, "seconds": 2.0, **always},
    ]


@pytest.mark.parametrize("kind", [Quiet, Bar, Json, Console])
def test_what_others_print_goes_to_stderr_for_programs(capsys, kind):
    before = sys.stdout
    with use(kind()):
        print("a library's remark")
    assert capsys.readouterr() == ("", "a library's remark\n")
    assert sys.stdout is before


def test_what_others_print_reaches_people(capsys):
    with use(Text()):
        print("a library's remark")
    assert capsys.readouterr().out == "a library's remark\n"


def test_a_process_that_a_run_started_says_nothing(capsys):
    with use(Console()) as shown:
        shown.start(ROWS)
        shown.note("fetching")
        shown.warning("this diverges")
        shown.end("/x/outputs/a", "all done")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (LabError("no\nsuch key"), {"event": "failed", "text": "no such key"}),
        (RunInterrupted("Interrupted. To go on: …"), {"event": "interrupted", "text": "Interrupted. To go on: …"}),
        (KeyboardInterrupt(), {"event": "interrupted", "text": "Interrupted."}),
    ],
)
def test_programs_are_told_of_an_early_end_and_the_error_goes_on(capsys, error, event):
    with pytest.raises(type(error)), use(Json()):
        raise error
    assert lines(capsys) == [event]


def test_the_current_console_is_the_innermost_and_the_one_before_returns():
    outside = console.current()
    with use(Quiet()) as quiet:
        with use(Json()) as inner:
            assert console.current() is inner
        assert console.current() is quiet
    assert console.current() is outside


def test_no_bar_but_for_people_at_a_terminal(monkeypatch):
    assert not Text().bar  # pytest's stderr is no terminal
    assert not Bar().bar
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert Text().bar
    assert Bar().bar
    assert not Quiet().bar
    assert not Json().bar


def test_losses_of_any_size_can_be_read():
    found = [loss(value) for value in (0.0, 0.04271, 2.5, 22302.07, 2.75e16, -3e-5)]
    assert found == ["0.0000", "0.0427", "2.5000", "22302.0700", "2.750e+16", "-3.000e-05"]


def test_durations_as_people_say_them():
    assert [duration(s) for s in (4.4, 89, 91, 720, 5340, 5400, 12_000)] == [
        "4 s", "89 s", "2 min", "12 min", "89 min", "1 h 30 min", "3 h 20 min",
    ]  # fmt: skip


#: Clear the screen, set the title, an 8-bit control sequence, a reversal of the writing direction, and a bell.
HOSTILE = "\x1b[2J \x1b]0;title\x07 \x9b31m \u202e end\r"


@pytest.mark.parametrize("kind", [Text, Quiet, Bar, Json])
def test_no_text_controls_the_terminal(capsys, kind):
    with use(kind()) as shown:
        shown.start([Row("data", HOSTILE, {HOSTILE: HOSTILE})])
        shown.event("epoch", HOSTILE, text=HOSTILE)
        shown.note(HOSTILE)
        shown.warning(HOSTILE)
        shown.end(HOSTILE, HOSTILE, metrics={HOSTILE: 1.0})
    out, err = capsys.readouterr()
    assert all(c.isprintable() or c == "\n" for c in out + err)
    assert "end" in out + err
    if kind is Json:  # a program gets every character
        assert json.loads(out.splitlines()[1])["text"] == HOSTILE


@pytest.mark.parametrize("error", [LabError, ValueError, RunInterrupted])
@pytest.mark.parametrize("debug", ["", "1"])
def test_no_error_controls_the_terminal(capsys, monkeypatch, error, debug):
    def fail():
        raise error(HOSTILE)

    monkeypatch.setenv(cli.DEBUG_VARIABLE, debug)
    with pytest.raises(SystemExit):
        cli.exit_on_error(fail)
    err = capsys.readouterr().err
    assert "end" in err
    assert all(c.isprintable() or c == "\n" for c in err)
