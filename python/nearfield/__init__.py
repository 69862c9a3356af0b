"""nearfield: local attention for every grid."""

from nearfield._errors import ArgumentError, LibraryError, UnsupportedError
from nearfield._version import __version__
from nearfield.patterns import Neighborhood, Pattern

__all__ = ["ArgumentError", "LibraryError", "Neighborhood", "Pattern", "UnsupportedError", "__version__"]
