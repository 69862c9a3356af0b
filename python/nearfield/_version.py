"""The version, which is that of the library's public header."""

__version__ = "0.1.0"
