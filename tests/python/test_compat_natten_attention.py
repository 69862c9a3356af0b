"""nearfield.compat.natten: dense attention with other lengths, packed sequences, and merging."""

import pytest

torch = pytest.importorskip("torch")

import literal  # noqa: E402
import nearfield  # noqa: E402
from nearfield.compat import natten  # noqa: E402
from nearfield.compat.natten.utils.varlen import generate_varlen_parameters  # noqa: E402

TIGHT = 1e-11


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20240609)


def tensors(length, length_kv, heads=4, heads_kv=2, d=3, d_v=5, batch=2):
    shapes = (batch, length, heads, d), (batch, length_kv, heads_kv, d), (batch, length_kv, heads_kv, d_v)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def dense(q, k, v, is_causal=False, scale=None):
    """softmax(scale q k^T) v, query i seeing keys 0 to i if causal; out and logsumexp."""
    group = q.shape[2] // k.shape[2]
    logits = torch.einsum("bihd,bjhd->bhij", q, k.repeat_interleave(group, 2))
    logits = logits * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        later = torch.arange(k.shape[1])[None] > torch.arange(q.shape[1])[:, None]
        logits = logits.masked_fill(later, -torch.inf)
    out = torch.einsum("bhij,bjhd->bihd", logits.softmax(-1), v.repeat_interleave(group, 2))
    return out, logits.logsumexp(-1).transpose(1, 2)


def agree(found, expected, inputs):
    upstream = [torch.randn_like(each) for each in expected]
    for a, b in zip(found, expected, strict=True):
        assert literal.error(a, b) <= TIGHT
    ours = torch.autograd.grad(found, inputs, upstream, retain_graph=True)
    theirs = torch.autograd.grad(expected, inputs, upstream)
    for a, b in zip(ours, theirs, strict=True):
        assert literal.error(a, b) <= 10 * TIGHT * (1 + float(b.abs().max()))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("length", "length_kv"), [(7, 7), (7, 4), (4, 7), (1, 9), (9, 1), (1, 1), (40, 150)])
def test_lengths_of_queries_and_keys(length, length_kv, is_causal):
    q, k, v = tensors(length, length_kv)
    found = natten.attention(q, k, v, is_causal=is_causal, scale=0.7, return_lse=True)
    agree(found, dense(q, k, v, is_causal, 0.7), [q, k, v])
    alone = natten.attention(q, k, v, is_causal=is_causal, scale=0.7)
    assert torch.equal(alone, found[0])


def test_no_keys_and_no_queries():
    q, k, v = tensors(3, 0)
    out, lse = natten.attention(q, k, v, return_lse=True)
    assert torch.equal(out, torch.zeros(2, 3, 4, 5, dtype=torch.float64)) and (lse == -torch.inf).all()
    for length_kv in (0, 3):
        out, lse = natten.attention(*tensors(0, length_kv), return_lse=True)
        assert out.shape == (2, 0, 4, 5) and lse.shape == (2, 0, 4)


def test_positions_of_both_releases():
    q, k, v = tensors(5, 5)
    with torch.no_grad():
        assert literal.error(natten.attention(q, k, v, True), dense(q, k, v, True)[0]) <= TIGHT
        assert literal.error(natten.attention(q, k, v, True, 0.5), dense(q, k, v, True, 0.5)[0]) <= TIGHT
        assert literal.error(natten.attention(q, k, v, 0.5), dense(q, k, v, False, 0.5)[0]) <= TIGHT
        assert literal.error(natten.attention(q, k, v, 0.5, "cutlass-fmha"), dense(q, k, v, False, 0.5)[0]) <= TIGHT


LENGTHS, LENGTHS_KV = [3, 0, 5, 2], [4, 2, 5, 0]


def packed():
    q, k, v = tensors(sum(LENGTHS), sum(LENGTHS_KV), batch=1)
    counts = torch.tensor(LENGTHS, dtype=torch.int32), torch.tensor(LENGTHS_KV, dtype=torch.int32)
    return q, k, v, *counts


@pytest.mark.parametrize("is_causal", [False, True])
def test_packed_sequences(is_causal):
    q, k, v, count, count_kv = packed()
    found = natten.attention(q, k, v, is_causal=is_causal, seqlens_Q=count, seqlens_KV=count_kv, return_lse=True)
    at = at_kv = 0
    for n, n_kv in zip(LENGTHS, LENGTHS_KV, strict=True):
        pieces = q[:, at : at + n], k[:, at_kv : at_kv + n_kv], v[:, at_kv : at_kv + n_kv]
        ours = [each[:, at : at + n] for each in found]
        if n and n_kv:
            agree(ours, dense(*pieces, is_causal), [q, k, v])
        else:
            assert (ours[0] == 0).all() and (ours[1] == -torch.inf).all()
        at, at_kv = at + n, at_kv + n_kv


def test_offsets_are_the_same_as_lengths():
    q, k, v, count, count_kv = packed()
    offsets, offsets_kv, most, most_kv = generate_varlen_parameters(q, k, v, count, count_kv)
    assert offsets.tolist() == [0, 3, 3, 8, 10] and offsets_kv.tolist() == [0, 4, 6, 11, 11]
    assert (most, most_kv) == (5, 5) and offsets.dtype == torch.int32
    found = natten.attention(
        q, k, v, cumulative_seqlen_Q=offsets, cumulative_seqlen_KV=offsets_kv, max_seqlen_Q=most, max_seqlen_KV=most_kv
    )
    assert torch.equal(found, natten.attention(q, k, v, seqlens_Q=count, seqlens_KV=count_kv))
    assert generate_varlen_parameters(q, k, v) == (None, None, 0, 0)


def test_no_lengths_is_a_batch():
    q, k, v = tensors(5, 5)
    found = natten.attention(q, k, v, max_seqlen_Q=0, max_seqlen_KV=0, seqlens_Q=None, cumulative_seqlen_Q=None)
    assert torch.equal(found, natten.attention(q, k, v))


def test_wrong_packing_is_refused():
    q, k, v, count, count_kv = packed()
    for arguments, message in (
        (dict(seqlens_Q=count), "seqlens_Q: must come as a pair"),
        (dict(max_seqlen_Q=3, max_seqlen_KV=3), "max_seqlen_Q, max_seqlen_KV: must come as a pair"),
        (
            dict(seqlens_Q=count, seqlens_KV=count_kv[:3]),
            "seqlens_KV: has 3 sequences: must have as many as seqlens_Q: 4",
        ),
        (
            dict(seqlens_Q=count + 1, seqlens_KV=count_kv),
            r"seqlens_Q: offsets \[0, 4, 5, 11, 14\]: must ascend from 0 to",
        ),
        (dict(cumulative_seqlen_Q=count, cumulative_seqlen_KV=count_kv), "cumulative_seqlen_Q: offsets .* must ascend"),
        (dict(seqlens_Q=[10], seqlens_KV=[11]), r"must come as a pair|seqlens_Q=\[10\]: must be a tensor of integers"),
        (dict(seqlens_Q=count.float(), seqlens_KV=count_kv), "seqlens_Q=.*: must be a tensor of integers"),
        (
            dict(seqlens_Q=count[:0], seqlens_KV=count_kv[:0]),
            "seqlens_Q: has 0 values: must be of at least one sequence",
        ),
    ):
        with pytest.raises(nearfield.ArgumentError, match=message):
            natten.attention(q, k, v, **arguments)
    q, k, v = tensors(10, 11, batch=2)
    with pytest.raises(nearfield.ArgumentError, match=r"query: shape .*: batch must be 1 where seqlens_Q is given"):
        natten.attention(q, k, v, seqlens_Q=count, seqlens_KV=count_kv)
    with pytest.raises(nearfield.ArgumentError, match="must both be given"):
        generate_varlen_parameters(q, k, v, count)


def test_wrong_shapes_are_refused():
    q, k, v = tensors(5, 6)
    for arguments, message in (
        ((q[0], k, v), r"query: shape \(5, 4, 3\): must be \(batch, length, heads, channels\)"),
        ((q[:1], k, v), "batch must be one size"),
        ((q[..., :2], k, v), "query and key must have as many channels"),
        ((q, k[:, :5], v), "key and value must have one length and as many heads"),
        ((q[:, :, :3], k, v), "heads"),
    ):
        with pytest.raises(nearfield.ArgumentError, match=message):
            natten.attention(*arguments)
    with pytest.raises(TypeError, match=r"is_causal=\(False,\): must be True or False"):
        natten.attention(q, k, v, is_causal=(False,))
    with pytest.raises(nearfield.ArgumentError, match="backend='cutlass-fna': must be None or one of 'cutlass-fmha'"):
        natten.attention(q, k, v, backend="cutlass-fna")


# ---- merging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 3, 16, 17, 40])
def test_merging_parts_of_the_keys_is_attention_to_all(parts):
    q, k, v = tensors(6, parts * 2)
    found = [natten.attention(q, k[:, i : i + 2], v[:, i : i + 2], return_lse=True) for i in range(0, k.shape[1], 2)]
    merged = natten.merge_attentions([out for out, _ in found], [lse for _, lse in found])
    agree(merged, dense(q, k, v), [q, k, v])


def test_merging_keeps_types():
    out, lse = torch.randn(1, 4, 2, 3, dtype=torch.bfloat16), torch.randn(1, 4, 2)
    for lses in ([lse, lse], [lse.to(torch.bfloat16)] * 2):
        merged, total = natten.merge_attentions([out, out], lses, torch_compile=True, use_autograd_fix=False)
        assert merged.dtype == torch.bfloat16 and total.dtype == torch.float32
        assert literal.error(merged, out) <= 1e-2


def test_wrong_parts_are_refused():
    out, lse = torch.zeros(1, 4, 2, 3), torch.zeros(1, 4, 2)
    with pytest.raises(nearfield.ArgumentError, match="outputs: has 1 parts: must have at least 2"):
        natten.merge_attentions([out], [lse])
    with pytest.raises(nearfield.ArgumentError, match="lse_tensors: has 3 parts: must have as many as outputs"):
        natten.merge_attentions([out, out], [lse] * 3)
    with pytest.raises(nearfield.ArgumentError, match="shape"):
        natten.merge_attentions([out, out[:, :3]], [lse, lse[:, :3]])
