"""Which series and which step a viewer reads from the paths of artifacts."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_weir.media_names import KINDS, read_media_name

UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


@pytest.mark.parametrize(("mark", "slash"), [("+", "~"), ("%", "~"), ("%", "#")])
def test_both_files_of_log_image_are_of_one_series(mark: str, slash: str) -> None:
    words = [f"images/val{slash}dogs 2", "step", "-3", "timestamp", "1700000000123", UUID]
    full = mark.join(words) + ".png"
    small = mark.join([*words, "compressed"]) + ".webp"
    for path in (full, small):
        found = read_media_name(path)
        assert found == ("val/dogs 2", "image", -3, 1_700_000_000_123, full)


@pytest.mark.parametrize(
    ("path", "key", "kind", "step"),
    [
        ("confusion_step_000100.png", "confusion", "image", 100),
        ("figures/roc-step-7.svg", "figures/roc", "image", 7),
        ("plots/loss.step=12.html", "plots/loss", "figure", 12),
        ("samples/step_100/cat.JPG", "samples/cat", "image", 100),
        ("step100_sample.png", "sample", "image", 100),
        ("sounds/epoch=3-step=100.wav", "sounds", "audio", 100),
        ("video/rollout_iter_5.mp4", "video/rollout", "video", 5),
        ("rollout_global_step_5.webm", "rollout", "video", 5),
        ("attention epoch 4.png", "attention", "image", 4),
        ("sample_000100.png", "sample", "image", 100),
        ("generated/00012.png", "generated", "image", 12),
        ("step_3.png", "image", "image", 3),
        # No step: a viewer shows them as they are.
        ("confusion.png", "confusion", "image", None),
        ("figure_1.png", "figure_1", "image", None),
        ("footstep_3.wav", "footstep_3", "audio", None),
        ("step_100k.png", "step_100k", "image", None),
        ("steps_3.png", "steps_3", "image", None),
        ("resnet50.png", "resnet50", "image", None),
        ("images/dogs+step+x.png", "images/dogs+step+x", "image", None),
    ],
)
def test_a_step_is_a_number_behind_its_word(
    path: str, key: str, kind: str, step: int | None
) -> None:
    assert read_media_name(path) == (key, kind, step, None, path)


@pytest.mark.parametrize(
    "path", ["model.pkl", "weir/git/diff.patch", "png", "a/.png", "", "a.b/c"]
)
def test_what_is_nothing_to_look_at_has_no_name(path: str) -> None:
    assert read_media_name(path) is None


@given(st.text(max_size=60), st.sampled_from([end for ends in KINDS.values() for end in ends]))
def test_any_path_has_an_answer(stem: str, end: str) -> None:
    found = read_media_name(f"{stem}.{end}")
    assert found is None or found.key


def test_what_mlflow_writes_is_read(tmp_path: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
    run_id = client.create_run(experiment).info.run_id
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    for step in (1, 20):
        client.log_image(run_id, picture, key="val/dogs", step=step, synchronous=True)
    paths = [info.path for info in client.list_artifacts(run_id, "images")]
    assert len(paths) == 4
    found = [read_media_name(path) for path in paths]
    assert {(one.key, one.kind, one.step) for one in found if one} == {
        ("val/dogs", "image", 1),
        ("val/dogs", "image", 20),
    }
    assert {one.original for one in found if one} == {p for p in paths if p.endswith(".png")}
