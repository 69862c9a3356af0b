"""A framework alone with nearfield, in a virtual environment that has nothing else: numpy, torch or jax.

alone.py numpy|torch|jax
"""

import importlib.util
import sys

import nearfield as nf

kind = sys.argv[1]
others = {"numpy": ("torch", "jax"), "torch": ("jax",), "jax": ("torch",)}[kind]
for other in others:
    assert importlib.util.find_spec(other) is None, f"{other} is installed: this environment proves nothing"

if kind == "numpy":
    import numpy

    x = numpy.ones((1, 8, 8, 2, 4), "float32")
    out, pullback = nf.numpy.vjp(nf.Neighborhood(3), x, x, x)
    assert out.shape == x.shape and (out == 1).all()
    assert abs(float(pullback(out).value.sum()) - out.size) < 1e-3
elif kind == "torch":
    import torch

    x = torch.ones(1, 8, 8, 2, 4, requires_grad=True)
    out = nf.na2d(x, x, x, 3)
    out.sum().backward()
    assert torch.equal(out, torch.ones_like(x)) and abs(x.grad.sum().item() - x.numel()) < 1e-3
    layer = nf.nn.LocalAttention(16, 2, nf.HilbertWindow(2), grid=(5, 5), rel_pos_bias=True)
    assert layer(torch.ones(1, 5, 5, 16)).shape == (1, 5, 5, 16)
    assert nf.nn.SphereAttention(16, 2, (3, 4), (5, 8))(torch.ones(1, 5, 8, 16)).shape == (1, 3, 4, 16)
    from nearfield.compat.torch_harmonics import NeighborhoodAttentionS2

    assert NeighborhoodAttentionS2(4, (5, 8), (5, 8))(torch.ones(1, 4, 5, 8)).shape == (1, 4, 5, 8)
    assert nf.nn.NeighborhoodAttention2D(16, num_heads=2, kernel_size=3)(torch.ones(1, 5, 5, 16)).shape == (1, 5, 5, 16)
else:
    import jax
    import jax.numpy as jnp

    x = jnp.ones((1, 8, 8, 2, 4))
    out, slope = jax.value_and_grad(lambda x: nf.na2d(x, x, x, 3).sum())(x)
    assert abs(float(out) - x.size) < 1e-3 and abs(float(slope.sum()) - x.size) < 1e-2
print(f"{kind} alone: nearfield {nf.__version__} works")
