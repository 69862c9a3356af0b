"""python -m nearfield."""

import subprocess
import sys

import pytest


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "nearfield", *arguments], capture_output=True, text=True)


def test_info_shows_the_machine():
    found = run("info")
    assert found.returncode == 0 and "engine cpu" in found.stdout and "isa portable" in found.stdout


def test_overhead_prints_ratios():
    pytest.importorskip("torch")
    found = run("bench", "--overhead", "--rounds", "1")
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("x\n") == 3 and "forward and backward" in found.stdout


def test_slide_compares_its_outputs_and_prints_ratios():
    pytest.importorskip("torch")
    found = run("bench", "--slide", "--rounds", "1", "--side", "9", "--window", "4")
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("x\n") == 3 and "HilbertSlide(16)" in found.stdout


def test_gna_compares_its_outputs_and_prints_the_bounds():
    pytest.importorskip("torch")
    found = run("bench", "--gna", "--rounds", "1", "--divide", "16")
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("%") == 10 and "over torch" in found.stdout


def test_wrong_arguments_are_refused():
    assert "divide=0: must be at least 1" in run("bench", "--gna", "--divide", "0").stderr
    assert "window=0: must be at least 1" in run("bench", "--slide", "--window", "0").stderr
    assert "rounds=0: must be at least 1" in run("bench", "--overhead", "--rounds", "0").stderr
    assert run().returncode == 2
