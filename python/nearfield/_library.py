"""libnearfield, loaded with ctypes: where it lies, its functions, and its statuses as exceptions.

The wheel carries the library; the environment variable NEARFIELD_LIBRARY names another one. ctypes releases the
interpreter's lock for the length of each call.
"""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from typing import NoReturn

from nearfield._errors import ArgumentError, LibraryError, UnsupportedError
from nearfield._version import __version__

_INVALID_ARGUMENT, _UNSUPPORTED, _OUT_OF_MEMORY = 1, 2, 3

_pointer, _i32, _i64, _text = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_char_p

# name: (result, arguments)
_FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {
    "nf_version": (_text, ()),
    "nf_last_error": (_text, ()),
    "nf_forward": (_i32, (_pointer,) * 8),
    "nf_backward": (_i32, (_pointer,) * 11),
    "nf_explain": (_i32, (_pointer,) * 7),
    "nf_explain_backward": (_i32, (_pointer,) * 8),
    "nf_weight_slots": (_i32, (_pointer,) * 3),
    "nf_qk": (_i32, (_pointer,) * 6),
    "nf_qk_backward": (_i32, (_pointer,) * 7),
    "nf_av": (_i32, (_pointer,) * 6),
    "nf_av_backward": (_i32, (_pointer,) * 7),
    "nf_forward_weights": (_i32, (_pointer,) * 9),
    "nf_merge": (_i32, (_i32,) + (_pointer,) * 4),
    "nf_merge_backward": (_i32, (_i32,) + (_pointer,) * 5),
    "nf_bias_extents": (_i32, (_pointer,) * 3),
    "nf_order_tokens": (_i32, (_i32, _i32) + (_pointer,) * 3),
    "nf_sphere_latitudes": (_i32, (_pointer,) * 3),
    "nf_window_slots": (_i32, (_pointer,) * 3),
    "nf_windows": (_i32, (_pointer, _pointer, _i64, _i64, _pointer, _pointer)),
    "nf_simulate": (_i32, (_pointer, _pointer, _pointer, _pointer, _pointer, _pointer)),
    "nf_plan_steps": (_i32, (_pointer, _pointer, _pointer, _pointer, _i64, _pointer, _pointer)),
    "nf_cpu_model": (_text, ()),
    "nf_default_num_threads": (_i32, ()),
    "nf_isa_name": (_text, (_i32,)),
    "nf_engine_name": (_text, (_i32,)),
    "nf_kernel_name": (_text, (_i32,)),
    "nf_order_name": (_text, (_i32,)),
    "nf_isa_unavailable": (_text, (_i32,)),
    "nf_engine_unavailable": (_text, (_i32,)),
    "nf_selected_isa": (_i32, ()),
}


def _machine() -> str:
    libc = " ".join(platform.libc_ver()).strip() or "unknown libc"
    return f"{platform.system()} {platform.machine()}, {libc}, Python {platform.python_version()}"


def _path() -> Path:
    given = os.environ.get("NEARFIELD_LIBRARY")
    if given:
        return Path(given)
    names = {"Darwin": "libnearfield.dylib", "Windows": "nearfield.dll"}
    return Path(__file__).parent / "_lib" / names.get(platform.system(), "libnearfield.so")


def load(path: Path) -> ctypes.CDLL:
    """The library at `path`, its functions declared. Raises LibraryError."""
    if not path.is_file():
        raise LibraryError(
            f"{path}: no such file. nearfield was installed without its library, or NEARFIELD_LIBRARY names none; "
            f"this machine: {_machine()}"
        )
    try:
        library = ctypes.CDLL(os.fspath(path))
    except OSError as error:
        raise LibraryError(f"{path}: cannot be loaded: {error}; this machine: {_machine()}") from error
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise LibraryError(
                f"{path}: has no symbol {name}: it is no libnearfield of version {__version__}; "
                f"this machine: {_machine()}"
            ) from None
        function.restype = result
        function.argtypes = arguments
    version = library.nf_version().decode()
    if version != __version__:
        raise LibraryError(f"{path}: is version {version}, this package is {__version__}; this machine: {_machine()}")
    return library


path = _path()
lib = load(path)


# What C and Python call differently in messages.
_WORDS = (
    ("must not be NULL", "must not be None"),
    ("must be NULL", "must be None"),
    ("nf_bias_extents", "nearfield.bias_extents"),
    ("nf_weight_slots", "nearfield.geometry.weight_slots"),
)


def fail(status: int) -> NoReturn:
    """Raises what `status`, not 0, stands for, with the library's message in Python's words."""
    message = lib.nf_last_error().decode()
    for c, python in _WORDS:
        message = message.replace(c, python)
    if status == _INVALID_ARGUMENT:
        raise ArgumentError(message)
    if status == _UNSUPPORTED:
        raise UnsupportedError(message)
    if status == _OUT_OF_MEMORY:
        raise MemoryError(message)
    raise RuntimeError(f"nearfield: internal error: {message}")
