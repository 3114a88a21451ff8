"""Makes the runs of other trackers beside this file, by those trackers' own packages.

    python make.py          (needs wandb, tensorboardX, tensorboard and Pillow)

What is logged is drawn here and written down in ``expected.json``, so that nothing of what reads
the runs has a say in it. Committed, since the tests are to need none of the packages. wandb writes
the paths of this folder, of Python and of the home directory into its records: run a copy of this
file below /var/tmp, with an environment and a HOME there.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
# No secret: it is to be taken out of what was printed.
PRINTED = "password=correct-horse-battery-staple"


def wandb_runs() -> dict[str, Any]:
    from PIL import Image

    wandb: Any = import_module("wandb")

    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(HERE),
                      WANDB_X_STATS_SAMPLING_INTERVAL="0.5", WANDB_DISABLE_GIT="true")  # fmt: skip
    draw = random.Random(1)
    shutil.rmtree(HERE / "wandb", ignore_errors=True)
    config = {"lr": 0.001, "optimizer": {"name": "adam", "betas": [0.9, 0.99]}, "nesterov": True}
    run = wandb.init(project="seen elsewhere", name="first", notes="Two lines\nof *notes*.",
                     tags=["baseline", "müde"], group="g", job_type="train", config=config,
                     id="aaaa1111")  # fmt: skip
    print("step 0 of 120", PRINTED)
    print("\rprogress 10 %\rprogress 100 %")
    print("a warning", file=sys.stderr)
    history: dict[str, list[Any]] = {}
    for step in range(120):
        logged: dict[str, Any] = {"loss": draw.gauss(0, 1), "train/acc": step / 120, "count": step,
                  "nested": {"x": draw.random()}, "is_best": step % 7 == 0}  # fmt: skip
        if step == 3:
            logged["loss"] = math.nan
        if step in (4, 5):
            logged["loss"] = math.inf * (1 if step == 4 else -1)
        run.log({**logged, "word": "text"})
        for key, value in logged.items():
            name = "nested.x" if key == "nested" else key
            number = value["x"] if key == "nested" else value
            history.setdefault(name, []).append([step, repr(float(number))])
    counts = [draw.randrange(100) for _ in range(64)]
    edges = list(np.linspace(-1.0, 1.0, 65))
    last = {
        "gradients/layer.weight": wandb.Histogram(np_histogram=(counts, edges)),
        "picture": wandb.Image(Image.new("RGB", (4, 4), (255, 0, 0))),
        "loss": 7.0,
    }
    run.log(last, step=1000)
    history["loss"].append([1000, "7.0"])
    run.summary["best"] = 0.25
    kept = HERE / "wandb" / "model.txt"
    kept.write_text("weights\n")
    run.save(str(kept), base_path=str(HERE / "wandb"))
    time.sleep(1.2)  # for the machine to be sampled
    run.finish(exit_code=0)
    second = wandb.init(project="seen elsewhere", name="crashed", id="bbbb2222")
    second.log({"loss": 1.0})
    second.finish(exit_code=3)
    for other in [*HERE.glob("wandb/off*/logs"), *HERE.glob("wandb/off*/tmp")]:
        shutil.rmtree(other)
    (saved,) = HERE.glob("wandb/off*/files/model.txt")
    saved.unlink()
    saved.symlink_to("../../model.txt")  # as it was, wherever this folder goes
    for link in (HERE / "wandb").iterdir():
        if link.is_symlink():
            link.unlink()
    return {
        "params": {
            "lr": "0.001",
            "optimizer.name": "adam",
            "optimizer.betas": "[0.9, 0.99]",
            "nesterov": "true",
        },
        "notes": "Two lines\nof *notes*.",
        "history": {**history, "best": [[1000, "0.25"]]},
        "histogram": {"counts": counts, "first": -1.0, "last": 1.0},
    }


def wandb_tables() -> dict[str, Any]:
    """Log what is no number: texts, lists, pages and tables."""
    wandb: Any = import_module("wandb")

    shutil.rmtree(HERE / "told", ignore_errors=True)
    (HERE / "told").mkdir()
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(HERE / "told"),
                      WANDB_DISABLE_GIT="true", WANDB_X_DISABLE_STATS="true")  # fmt: skip
    run = wandb.init(project="seen elsewhere", name="told", id="cccc3333")
    columns, rows = ["question", "score", "right"], [["wie?", 0.5, True], ["ü <b>", 1.25, False]]
    for step in range(2):
        run.log({
            "answer": f"answer {step}\nü",
            "path/of.it": [1, [2, step]],
            "page": wandb.Html(f"<b>page {step}</b>"),
            "eval/samples": wandb.Table(columns=columns, data=rows[: step + 1]),
        })  # fmt: skip
    run.finish()
    for other in [*HERE.glob("told/wandb/off*/logs"), *HERE.glob("told/wandb/off*/tmp")]:
        shutil.rmtree(other)
    for link in (HERE / "told" / "wandb").iterdir():
        if link.is_symlink():
            link.unlink()
    told = [["step", "text"], [0, "answer 0\nü"], [1, "answer 1\nü"]]
    listed = [["step", "text"], [0, "[1, [2, 0]]"], [1, "[1, [2, 1]]"]]
    return {
        "tables": {
            "text/answer.json": told,
            "text/path/of.it.json": listed,
            "table/eval/samples/step_0.json": [columns, rows[0]],
            "table/eval/samples/step_1.json": [columns, *rows],
        },
        "pages": {f"media/page/step_{step}.html": f"<b>page {step}</b>" for step in range(2)},
    }


def wandb_changes() -> dict[str, Any]:
    """Log what is another in the end than in the beginning, and artifacts; then the run again."""
    wandb: Any = import_module("wandb")
    from PIL import Image

    here = HERE / "changed"
    shutil.rmtree(here, ignore_errors=True)
    (here / "data").mkdir(parents=True)
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(here),
                      WANDB_DATA_DIR=str(here / "data"), WANDB_CACHE_DIR=str(here / "cache"),
                      WANDB_DISABLE_GIT="true", WANDB_X_DISABLE_STATS="true")  # fmt: skip
    run = wandb.init(project="seen elsewhere", name="before", notes="before", tags=["old", "kept"],
                     id="dddd4444")  # fmt: skip
    run.name, run.notes, run.tags = "after", "after *all*", ("kept", "new")
    red = wandb.Image(Image.new("RGB", (4, 4), (255, 0, 0)), caption="a red one")
    blue = wandb.Image(Image.new("RGB", (4, 4), (0, 0, 255)), caption="a blue one")
    run.log({"acc (val)": 1.0, "acc [val]": 2.0, "one": red, "both": [red, blue]})
    run.summary["gone"] = 1.0
    del run.summary["gone"]
    file = here / "weights.bin"
    for version in range(2):
        file.write_text(f"weights {version}\n")
        artifact = wandb.Artifact("net", "model", "a small one", {"depth": version})
        artifact.add_file(str(file), "deep/weights.bin")
        artifact.add_reference("http://127.0.0.1/data.bin", checksum=False)
        run.log_artifact(artifact)
    run.log({"samples": wandb.Table(columns=["a"], data=[[1]])})
    run.finish()
    file.unlink()
    time.sleep(1.1)  # its folder is named by the second
    again = wandb.init(project="seen elsewhere", name="after", id="dddd4444")
    print("again")
    again.log({"later": 3.0}, step=7)
    again.finish(exit_code=1)
    for other in [*here.glob("wandb/off*/logs"), *here.glob("wandb/off*/tmp"), here / "cache"]:
        shutil.rmtree(other, ignore_errors=True)
    for link in (here / "wandb").iterdir():
        if link.is_symlink():
            link.unlink()
    return {
        "name": "after",
        "notes": "after *all*",
        "tags": ["wandb.tag.kept", "wandb.tag.new"],
        "captions": {"one": [["a red one"]], "both": [["a red one"], ["a blue one"]]},
        "weights": {f"v{version}": f"weights {version}\n" for version in range(2)},
    }


def tensorboard_runs() -> dict[str, Any]:
    new_writer: Any = import_module("tensorboard.summary").Writer
    old_writer: Any = import_module("tensorboardX").SummaryWriter

    draw = random.Random(2)
    logdir = HERE / "tensorboard"
    shutil.rmtree(logdir, ignore_errors=True)
    old = old_writer(str(logdir / "old" / "train"))
    history: dict[str, list[Any]] = {}
    for step in range(200):
        value = draw.gauss(0, 1)
        old.add_scalar("loss/train (raw)", value, step)
        history.setdefault("loss/train__raw_", []).append([step, repr(float(np.float32(value)))])
    values = np.array([draw.gauss(0, 1) for _ in range(500)])
    old.add_histogram("gradients/w", values, 5, bins=64)
    old.add_image("sample", np.zeros((3, 4, 4), np.uint8), 7)
    old.add_text("remark", "some *words*", 2)
    old.add_hparams({"lr": 0.5, "layers": 3, "kind": "mlp", "bias": True}, {"final": 1.5})
    old.close()
    new = new_writer(str(logdir / "new"))
    tensors = []
    for step in range(50):
        value = draw.gauss(0, 1)
        new.add_scalar("accuracy", np.float32(value), step)
        tensors.append([step, repr(float(np.float32(value)))])
    new.close()
    return {"old": history, "new": {"accuracy": tensors}, "n_values": len(values),
            "params": {"lr": "0.5", "layers": "3", "kind": "mlp", "bias": "True"}}  # fmt: skip


if __name__ == "__main__":
    os.chdir(HERE)
    made = {
        "wandb": wandb_runs(),
        "told": wandb_tables(),
        "changed": wandb_changes(),
        "tensorboard": tensorboard_runs(),
    }
    (HERE / "expected.json").write_text(json.dumps(made, indent=0) + "\n")
