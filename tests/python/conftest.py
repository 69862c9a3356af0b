"""Shared by all tests of the Python faces."""

import warnings

import pytest


@pytest.fixture(autouse=True)
def deprecations_are_errors():
    """nearfield may not lean on what its frameworks are about to remove."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=DeprecationWarning, module=r"nearfield\b")
        yield
