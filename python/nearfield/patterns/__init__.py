"""Patterns: which keys a query sees. They know no hardware and no tensors; engines execute them."""

from nearfield.patterns._base import Bools, Ints, Names, Pattern, cached_words, check_pattern
from nearfield.patterns._curves import (
    CurvePattern,
    HilbertNeighborhood,
    HilbertShiftedWindow,
    HilbertSlide,
    HilbertWindow,
)
from nearfield.patterns._neighborhood import Neighborhood, cached_neighborhood_words, neighborhood_words
from nearfield.patterns._slide import Slide
from nearfield.patterns._sphere import SphereGlobal, SphereGrid, SphereNeighborhood, SpherePattern
from nearfield.patterns._window import Window
from nearfield.patterns._words import BOUNDARIES, FORMS, KINDS, LATITUDES, MAX_RANK, ORDERS

__all__ = [
    "BOUNDARIES",
    "FORMS",
    "KINDS",
    "LATITUDES",
    "MAX_RANK",
    "ORDERS",
    "Bools",
    "CurvePattern",
    "HilbertNeighborhood",
    "HilbertShiftedWindow",
    "HilbertSlide",
    "HilbertWindow",
    "Ints",
    "Names",
    "Neighborhood",
    "Pattern",
    "Slide",
    "SphereGlobal",
    "SphereGrid",
    "SphereNeighborhood",
    "SpherePattern",
    "Window",
    "cached_neighborhood_words",
    "cached_words",
    "check_pattern",
    "neighborhood_words",
]
