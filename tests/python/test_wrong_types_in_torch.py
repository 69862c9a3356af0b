"""Wrong types given to what is torch alone: the layers, and NATTEN's interface."""

import re

import pytest

torch = pytest.importorskip("torch")

import nearfield as nf  # noqa: E402
import numpy as np  # noqa: E402
from nearfield.compat import natten  # noqa: E402

X = torch.ones(1, 6, 2, 4)
ARRAY = np.ones((1, 6, 2, 4), "float32")
WRONG = (7, "a", [1.0], ARRAY)


def refuses(function, message):
    with pytest.raises((TypeError, nf.ArgumentError), match=message):
        function()


@pytest.mark.parametrize("wrong", (*WRONG, None), ids=lambda each: type(each).__name__)
def test_natten_takes_tensors(wrong):
    for name in ("query", "key", "value"):
        given = {"query": X, "key": X, "value": X, name: wrong}
        refuses(lambda given=given: natten.na1d(**given, kernel_size=3), rf"^{name}: is .*: must be a torch.Tensor")
        refuses(lambda given=given: natten.attention(**given), rf"^{name}: is .*: must be a torch.Tensor")
    lse = X[..., 0]
    refuses(lambda: natten.merge_attentions([X, wrong], [lse, lse]), r"^outputs\[1\]: is .*: must be a torch.Tensor")
    refuses(lambda: natten.merge_attentions([X, X], [lse, wrong]), r"^lse_tensors\[1\]: is .*: must be a torch.Tensor")
    if wrong is None:
        refuses(lambda: natten.merge_attentions(None, None), "^outputs=None: must be a sequence of arrays")
        return
    for name in ("rpb", "additional_keys", "additional_values"):
        refuses(lambda name=name: natten.na1d(X, X, X, 3, **{name: wrong}), rf"^{name}: is .*: must be a torch.Tensor")
    rule = "must be a tensor of integers with one dimension"
    refuses(lambda: natten.attention(X, X, X, seqlens_Q=wrong, seqlens_KV=wrong), f"^seqlens_Q=.*: {rule}")
    refuses(
        lambda: natten.utils.varlen.generate_varlen_parameters(X, X, X, wrong, wrong),
        f"^seqlens_Q=.*: {rule}",
    )


@pytest.mark.parametrize("wrong", (*WRONG, None), ids=lambda each: type(each).__name__)
def test_layers_take_tensors(wrong):
    for layer in (
        nf.nn.NeighborhoodAttention1D(4, 2, 3),
        nf.nn.NeighborhoodTransformerBlock(4, 2, 3, rank=1),
        natten.NeighborhoodAttention1D(4, 2, 3),
    ):
        refuses(lambda layer=layer: layer(wrong), f"^x: is a {type(wrong).__name__}: must be a torch.Tensor")
    if wrong is not None:
        layer = nf.nn.NeighborhoodAttention1D(4, 2, 3)
        refuses(lambda: layer(torch.ones(1, 6, 4), wrong), "^key_mask: is a .*: must be a torch.Tensor, as query is")


@pytest.mark.parametrize("wrong", ("a", [1.0], ARRAY, X), ids=lambda each: type(each).__name__)
def test_settings_of_layers(wrong):
    required = {"embed_dim": 4, "num_heads": 2, "kernel_size": 3}
    for name in (
        "embed_dim",
        "num_heads",
        "num_heads_kv",
        "boundary",
        "qkv_bias",
        "qk_scale",
        "rel_pos_bias",
        "qk_norm",
    ):
        refuses(
            lambda name=name: nf.nn.NeighborhoodAttention1D(**{**required, name: wrong}),
            rf"^{name}(\[0\])?=.*: must be",
        )
    for name in ("embed_dim", "rank", "mlp_ratio", "drop_path", "layer_scale"):
        given = {**required, "rank": 1, name: wrong}
        refuses(lambda given=given: nf.nn.NeighborhoodTransformerBlock(**given), rf"^{name}(\[0\])?=.*: must be")


def test_a_wrong_value_is_shown_on_one_short_line():
    with pytest.raises(TypeError) as raised:
        nf.na1d(X, X, X, 3, scale=torch.ones(50, 50))
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 200
    assert re.match(r"scale=tensor\(\[\[1", str(raised.value))
