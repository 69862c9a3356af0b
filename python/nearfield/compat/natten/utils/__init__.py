"""NATTEN's helpers that programs use."""

from nearfield.compat.natten.utils import checks, varlen
from nearfield.compat.natten.utils.checks import check_all_args

__all__ = ["check_all_args", "checks", "varlen"]
