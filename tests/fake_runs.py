"""Run folders as a run would leave them, without the run: for the tests of what reads many of them."""

import json
import os
import platform
from datetime import UTC, datetime, timedelta

import numpy as np
import yaml

NOW = datetime(2026, 5, 6, 12, 0, 0, tzinfo=UTC)


def fake_run(
    outputs,
    *,
    schedule="linear",
    channels=8,
    seed=1,
    loss=0.5,
    recognition=None,
    status="finished",
    began=NOW,
    process_id=None,
    host=None,
    samples=0,
    name="fake",
    folder=None,
    session=None,
    **config,
):
    """A run that ended with the validation loss `loss`, after it had been higher, lower and higher again."""
    arguments = {"linear": {"beta_start": 1e-4, "beta_end": 0.02}, "cosine": {"offset": 0.008}}[schedule]
    node = {
        "data": {"_target_": "diffusion_lab.data.Digits", "data_dir": f"/data/of/{seed}", "batch_size": 64},
        "schedule": {"_target_": f"lab.{schedule.title()}Schedule", "steps": 1000, **arguments},
        "network": {"_target_": "lab.SimpleUNet", "base_channels": channels, "channel_multipliers": [1, 2]},
        "logger": {"csv": {"_target_": f"some.Logger{seed}"}},
        "paths": {"output_dir": str(outputs)},
        "name": name,
        "seed": seed,
        "tags": [],
        "notes": "",
        "init_from": None,
        "sampling": {"seed": 0},
        **config,
    }
    path = outputs / name / (folder or f"{began:%Y-%m-%d_%H-%M-%S}-{schedule[:3]}{channels}s{seed}")
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(node, sort_keys=False))
    started = {
        "started": began.isoformat(),
        "process_id": os.getpid() if process_id is None else process_id,
        "host": host or platform.node(),
        "git": {"commit": "c" * 40, "dirty": False},
    }
    if status != "running":
        started |= {
            "ended": (began + timedelta(seconds=30)).isoformat(),
            "status": status,
            "wall_time_s": 30.0 + (seed if isinstance(seed, int) else 0),
        }
    manifest = {
        "seed": seed,
        "sessions": [started | (session or {})],
        "status": status,
        "options": {"schedule": schedule, "network": "simple_unet", "data": "digits"},
        "data": {"train": "aaaa", "val": "bbbb"},
        "parameters": 1000 * channels,
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    epochs = [
        {"epoch": e, "step": 10 * e, "train/loss": v + 0.1, "val/loss": v}
        for e, v in enumerate((3 * loss, loss / 2, loss), 1)
    ]
    if status == "finished":
        metrics = {"step": 30, "epochs": epochs, "val/loss": loss, "train/loss": loss + 0.1, "train/loss_epoch": loss}
        if recognition is not None:
            metrics["recognition"] = {"samples": recognition, "real": 0.92}
        (path / "metrics.json").write_text(json.dumps(metrics))
    else:
        (path / "csv").mkdir()
        rows = [f"{row['epoch'] - 1},{row['step'] - 1},,{row['val/loss']}" for row in epochs]
        rows += [f"{row['epoch'] - 1},{row['step'] - 1},{row['train/loss']}," for row in epochs]
        (path / "csv" / "metrics.csv").write_text("\n".join(["epoch,step,train/loss_epoch,val/loss", *rows, ""]))
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "last.ckpt").write_bytes(bytes(20_000))
    if samples:
        (path / "samples").mkdir()
        images = np.random.default_rng(seed).uniform(-1, 1, (samples, 1, 8, 8)).astype(np.float32)
        np.save(path / "samples" / "final.npy", images)
    return path


def fake_sweep(outputs, **common):
    """Two schedules, two widths, three seeds: the wider and linear ones are better, by more than their spread."""
    return [
        fake_run(
            outputs,
            schedule=schedule,
            channels=channels,
            seed=seed,
            loss=0.5
            + 0.2 * (schedule == "cosine")
            + 0.05 * (channels == 8)
            + 0.002 * seed
            + 0.001 * (channels == 8) * seed,
            began=NOW + timedelta(minutes=10 * i),
            **common,
        )
        for i, (schedule, channels, seed) in enumerate(
            (s, c, n) for s in ("linear", "cosine") for c in (8, 16) for n in (1, 2, 3)
        )
    ]


def fake_evaluation(path, name, results, **asked):
    """Record an evaluation of a run: the settings that it was asked for, and the numbers that it found."""
    (path / "evaluations").mkdir(exist_ok=True)
    content = {"asked": {"step": 30, **asked}, "made_by": {"argv": ["scripts/evaluate.py"]}, "results": results}
    (path / "evaluations" / f"{name}.json").write_text(json.dumps(content))
