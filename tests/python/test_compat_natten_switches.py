"""nearfield.compat.natten: what can be imported, switches, helpers, counting of work, and the version."""

import importlib
import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch")

import nearfield  # noqa: E402
from nearfield.compat import natten  # noqa: E402
from nearfield.compat.natten import _hints  # noqa: E402


@pytest.fixture
def warn_anew(monkeypatch):
    """As in a process that has not warned yet."""
    monkeypatch.setattr(_hints, "_warned", set())


def test_import_forms():
    program = """
from nearfield.compat import natten
import nearfield.compat.natten as again
from nearfield.compat.natten import NeighborhoodAttention1D, NeighborhoodAttention2D, NeighborhoodAttention3D
from nearfield.compat.natten.functional import na1d, na2d, na3d, natten2dqkrpb, natten2dav
from nearfield.compat.natten.flops import add_natten_handle
from nearfield.compat.natten.utils import check_all_args
from nearfield.compat.natten.context import is_fna_enabled
assert natten is again and natten.functional.na2d is na2d is natten.na2d
import nearfield
assert nearfield.compat.natten is natten
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_name_is_there():
    for module in ("", ".context", ".functional", ".modules", ".utils"):
        loaded = importlib.import_module(f"nearfield.compat.natten{module}")
        assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []
    assert set(natten.context.__all__) <= set(natten.__all__)


def test_version_is_one_that_programs_can_compare():
    numbers = tuple(int(each) for each in natten.__version__.split("."))
    assert numbers >= (0, 21, 5) and len(numbers) == 3


def test_features_that_programs_ask_for():
    assert natten.has_fused_na() is True and natten.has_fna() is True
    assert hasattr(natten, "context")
    assert natten.has_cuda() is False and natten.has_gemm(0) is True and natten.has_fp32_gemm() is True
    assert natten.has_tf32_gemm() is False
    assert natten.has_half() is True and natten.has_bfloat() is True
    assert natten.HAS_LIBNATTEN is True


def test_harmless_switches_are_silent(warn_anew):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        natten.use_fused_na(True)
        natten.use_fna()
        natten.use_autotuner(True)
        natten.use_kv_parallelism_in_fused_na(True)
        natten.set_memory_usage_preference("unrestricted")
        natten.use_gemm_na(True)
        natten.use_deterministic_algorithms(True)
        natten.use_deterministic_algorithms(False)
        natten.use_tiled_na(True)
        natten.use_tf32_in_gemm_na(True)
        natten.disable_flex_compile()
        natten.disable_flex_compile_backprop()
        natten.disable_autotuner()
        natten.set_memory_usage_preference()


def test_what_is_always_so():
    natten.use_deterministic_algorithms(False)
    assert natten.are_deterministic_algorithms_enabled() is True
    assert natten.is_fused_na_enabled() is True and natten.is_fna_enabled() is True
    assert natten.is_flex_compile_allowed() is False and natten.is_flex_compile_backprop_allowed() is False


@pytest.mark.parametrize("call", [
    lambda: natten.use_fused_na(False),
    lambda: natten.use_flex_attention(),
    lambda: natten.force_flex_attention(),
    lambda: natten.use_fused_na(True, use_flex_attention=True),
    lambda: natten.allow_flex_compile(),
    lambda: natten.allow_flex_compile_backprop(),
])  # fmt: skip
def test_what_is_not_served_warns_once(call, warn_anew):
    with pytest.warns(UserWarning, match="is not served: nearfield") as seen:
        call()
    assert len(seen) == 1 and seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call()
    assert natten.is_fused_na_enabled()


@pytest.mark.parametrize(("switch", "state"), [
    (natten.use_kv_parallelism_in_fused_na, natten.is_kv_parallelism_in_fused_na_enabled),
    (natten.use_gemm_na, natten.is_gemm_na_enabled),
    (natten.use_tiled_na, natten.is_tiled_na_enabled),
    (natten.use_tf32_in_gemm_na, natten.is_tf32_in_gemm_na_enabled),
    (natten.use_autotuner, natten.is_autotuner_enabled_for_forward),
    (lambda mode: natten.use_autotuner(backward_pass=mode), natten.is_autotuner_enabled_for_backward),
    (lambda mode: natten.use_autotuner(thorough_mode_forward=mode), natten.is_autotuner_thorough_for_forward),
    (lambda mode: natten.use_autotuner(thorough_mode_backward=mode), natten.is_autotuner_thorough_for_backward),
    (lambda mode: (natten.enable_gemm_na if mode else natten.disable_gemm_na)(), natten.is_gemm_na_enabled),
    (lambda mode: (natten.enable_tiled_na if mode else natten.disable_tiled_na)(), natten.is_tiled_na_enabled),
    (lambda mode: (natten.enable_tf32 if mode else natten.disable_tf32)(), natten.is_tf32_in_gemm_na_enabled),
])  # fmt: skip
def test_switches_are_remembered(switch, state):
    before = state()
    for mode in (True, False, before):
        switch(mode)
        assert state() is mode


def test_autotuner_is_one_of_its_passes():
    natten.disable_autotuner()
    assert natten.is_autotuner_enabled() is False
    natten.use_autotuner(backward_pass=True)
    assert natten.is_autotuner_enabled() is True
    natten.disable_autotuner()
    assert natten.is_autotuner_enabled() is False


def test_memory_preferences():
    states = {
        "default": natten.is_memory_usage_default,
        "strict": natten.is_memory_usage_strict,
        "unrestricted": natten.is_memory_usage_unrestricted,
    }
    for pref in ("strict", "unrestricted", "default"):
        natten.set_memory_usage_preference(pref)
        assert [name for name, state in states.items() if state()] == [pref]
        assert natten.get_memory_usage_preference().name.lower() == pref
    with pytest.raises(
        nearfield.ArgumentError, match="pref='most': must be one of 'default', 'strict', 'unrestricted'"
    ):
        natten.set_memory_usage_preference("most")


def test_switches_change_no_result():
    q = torch.randn(1, 6, 7, 2, 4)
    before = natten.na2d(q, q, q, 3)
    natten.use_gemm_na(True)
    natten.use_kv_parallelism_in_fused_na(False)
    try:
        assert torch.equal(natten.na2d(q, q, q, 3), before)
    finally:
        natten.use_gemm_na(False)
        natten.use_kv_parallelism_in_fused_na(True)


# ---- helpers ---------------------------------------------------------------------------------------------------------


def test_check_all_args_of_both_releases():
    check = natten.utils.check_all_args
    assert check is natten.utils.checks.check_all_args
    assert check(3, (5, 7, 7), 1, False) == ((5, 7, 7), (1, 1, 1), (False, False, False))
    assert check(2, 7, None, (True, False)) == ((7, 7), (1, 1), (True, False))
    assert check(1, 7, 2, None) == ((7,), (2,), (False,))
    assert check(2, [7, 5], 1, 2, False) == ((7, 5), (1, 1), (2, 2), (False, False))
    assert check(1, kernel_size=7, stride=2, dilation=None, is_causal=None) == ((7,), (2,), (1,), (False,))


def test_check_all_args_refuses():
    check = natten.utils.check_all_args
    with pytest.raises(nearfield.ArgumentError, match="na_dim=4: must be 1, 2 or 3"):
        check(4, 7, 1, False)
    with pytest.raises(nearfield.ArgumentError, match=r"kernel_size=\(7, 7\): has 2 values, but the grid has 3 axes"):
        check(3, (7, 7), 1, False)
    with pytest.raises(TypeError, match="no release"):
        check(3, 7.5, 1, False)
    with pytest.raises(TypeError, match="check_all_args: dilation: must be given"):
        check(3, 7, 1)


class Counter:
    """What add_natten_handle needs of fvcore's counter: handles by the kind of a traced graph's node."""

    def set_op_handle(self, **handles):
        self.handles = handles
        return self

    def count(self, module, x):
        graph, _ = torch.jit._get_trace_graph(module, (x,))
        found = [
            self.handles[node.kind()](list(node.inputs()), list(node.outputs()))
            for node in graph.nodes()
            if node.kind() in self.handles
        ]
        assert len(found) == 1
        return found[0]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning:torch")
def test_work_is_counted_in_traced_graphs():
    counter = natten.flops.add_natten_handle(Counter())
    layer = natten.NeighborhoodAttention2D(64, 4, 3, rel_pos_bias=True)
    tokens = 2 * 8 * 9
    assert counter.count(layer, torch.randn(2, 8, 9, 64)) == tokens * 9 * 64 * 2
    with torch.no_grad():
        assert counter.count(layer.eval(), torch.randn(2, 8, 9, 64)) == tokens * 9 * 64 * 2

    class Tall(torch.nn.Module):
        def forward(self, q):
            return natten.na1d(q, q, q[..., :3], 5, is_causal=True)

    pairs = 1 + 2 + 3 + 4 + 5 * 3
    assert counter.count(Tall(), torch.randn(2, 7, 4, 6)) == 2 * 4 * pairs * (6 + 3)
