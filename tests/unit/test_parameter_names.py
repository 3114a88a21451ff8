"""Names of parameters as metrics carry them, and which are taken together."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlflow_weir.plugin.capture.parameter_names import MAX_SERIES, grouped, plain
from mlflow_weir.ui_extensions import mlflow_private


@settings(deadline=None)
@given(st.text(min_size=1, max_size=300))
@example("..")
@example(".")
def test_every_name_becomes_one_that_mlflow_takes(name: str) -> None:
    for is_wrapped in (True, False):
        key = f"gradients/{plain(name, is_wrapped=is_wrapped)}/norm"
        assert mlflow_private.metric_name_fault(key) is None


def test_what_wrappers_put_into_a_name_is_left_out() -> None:
    for name in (
        "module.layers.0.weight",
        "_orig_mod.module.layers.0.weight",
        "_fsdp_wrapped_module.layers.0._checkpoint_wrapped_module.weight",
    ):
        assert plain(name, is_wrapped=True) == "layers.0.weight"
    assert plain("module.weight", is_wrapped=False) == "module.weight"
    assert plain("my_module.weight", is_wrapped=True) == "my_module.weight"


def test_long_names_stay_different() -> None:
    one, other = (plain("a" * 300 + end, is_wrapped=False) for end in ".b .c".split())
    assert one != other
    assert len(one) == 200


def test_too_many_tensors_are_taken_together_by_module() -> None:
    names = [f"layers.{i}.experts.{j}.weight" for i in range(8) for j in range(100)]
    assert grouped(names[:MAX_SERIES]) == names[:MAX_SERIES]
    found = grouped(names)
    assert sorted(set(found)) == [f"layers.{i}.experts" for i in range(8)]
    assert grouped([f"p{i}" for i in range(MAX_SERIES + 1)]) == ["all"] * (MAX_SERIES + 1)
    assert set(grouped([f"outer.p{i}" for i in range(MAX_SERIES + 1)])) == {"outer"}
