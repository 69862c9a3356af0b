"""torch modules: local attention with its projections, on the sphere, too, and the transformer block of neighborhood
attention.

They take channels-last tensors (batch, *grid, embed_dim). Importing this module imports torch.
"""

from nearfield.nn.attention import NeighborhoodAttention1D, NeighborhoodAttention2D, NeighborhoodAttention3D
from nearfield.nn.block import NeighborhoodTransformerBlock
from nearfield.nn.local import LocalAttention
from nearfield.nn.resample import SphereResample
from nearfield.nn.sphere import SphereAttention

__all__ = [
    "LocalAttention",
    "NeighborhoodAttention1D",
    "NeighborhoodAttention2D",
    "NeighborhoodAttention3D",
    "NeighborhoodTransformerBlock",
    "SphereAttention",
    "SphereResample",
]
