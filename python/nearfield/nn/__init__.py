"""torch modules: neighborhood attention with its projections, and the transformer block around it.

They take channels-last tensors (batch, *grid, embed_dim). Importing this module imports torch.
"""

from nearfield.nn.attention import NeighborhoodAttention1D, NeighborhoodAttention2D, NeighborhoodAttention3D
from nearfield.nn.block import NeighborhoodTransformerBlock

__all__ = [
    "NeighborhoodAttention1D",
    "NeighborhoodAttention2D",
    "NeighborhoodAttention3D",
    "NeighborhoodTransformerBlock",
]
