"""What goes wrong, as Python exceptions. The texts of the first two are the C++ core's own."""


class ArgumentError(ValueError):
    """An argument breaks a rule; the message names it, its value and the rule."""


class UnsupportedError(ArgumentError):
    """Valid, but the engine or instruction set asked for cannot do it; the message says which can."""


class LibraryError(ImportError):
    """The shared library could not be loaded; the message says which file, which symbol, which machine."""
