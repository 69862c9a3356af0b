"""examples/sphere: the shallow-water solver, against published test cases and identities of harmonics."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

scipy_special = pytest.importorskip("scipy.special")

EXAMPLE = Path(__file__).parents[2] / "examples" / "sphere"
HOUR, DAY = 3600, 86400


@pytest.fixture(scope="module")
def example():
    """The example's modules. Those of other examples may have the same names, so that none may stay imported."""
    names = ("progress", "spherical_harmonics", "shallow_water", "states", "williamson")
    before = {name: sys.modules.pop(name, None) for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        yield {name: importlib.import_module(name) for name in names}
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def random_coefficients(harmonics, seed, *shape):
    """Of fields of every harmonic, with real means by longitude."""
    generator = np.random.default_rng(seed)
    size = harmonics.truncation + 1
    drawn = generator.standard_normal((2, *shape, size, size)) * harmonics.kept
    coefficients = drawn[0] + 1j * drawn[1]
    coefficients[..., 0, :] = coefficients[..., 0, :].real
    return coefficients


def largest(values):
    """The largest magnitude; NaN if there is one."""
    return float(np.max(np.abs(values)))


def test_harmonics_are_those_of_scipy(example):
    """Also at degree 170, where unnormalised functions overflow."""
    x = np.cos(np.linspace(0.1, 3.0, 7))
    for truncation in (5, 170):
        values, _ = example["spherical_harmonics"].legendre(truncation, x)
        for m, degree in ((0, 0), (0, 5), (2, 3), (5, 5), (1, truncation), (truncation, truncation)):
            expected = scipy_special.sph_harm_y(degree, m, np.arccos(x), 0.0).real * np.sqrt(2 * np.pi) * (-1) ** m
            assert largest(values[m, degree] - expected) <= 1e-12, (truncation, m, degree)


def test_harmonics_are_orthonormal(example):
    harmonics = example["spherical_harmonics"].SphericalHarmonics(24, 23)
    values, _ = example["spherical_harmonics"].legendre(23, harmonics.x)
    for m in (0, 1, 7, 23):
        products = (values[m, m:] * harmonics.weights) @ values[m, m:].T
        assert largest(products - np.eye(24 - m)) <= 1e-13, m


def test_transforms_are_inverse_and_refuse_what_they_cannot_hold(example):
    make = example["spherical_harmonics"].SphericalHarmonics
    for nlat, truncation in ((32, None), (16, 15), (2, 1)):
        harmonics = make(nlat, truncation)
        coefficients = random_coefficients(harmonics, 1, 2, 3)
        field = harmonics.synthesis(coefficients)
        assert field.shape == (2, 3, nlat, 2 * nlat)
        assert largest(harmonics.analysis(field) - coefficients) <= 1e-13 * largest(coefficients) * nlat
    assert make(32).truncation == 21 and make(64).truncation == 42
    for nlat, truncation, message in (
        (1, None, "nlat=1: must be at least 2"),
        (8, 8, "truncation=8: must be from 1 to"),
    ):
        with pytest.raises(ValueError, match=message):
            make(nlat, truncation)


def test_derivatives(example):
    """Divergence and curl give back what winds were made from; a product rule; an integral."""
    harmonics = example["spherical_harmonics"].SphericalHarmonics(32, radius=3.0)
    vorticity, divergence = random_coefficients(harmonics, 2, 2)
    vorticity[0, 0] = divergence[0, 0] = 0
    east, north = harmonics.wind(vorticity, divergence)
    spread, curl = harmonics.divergence_and_curl(east, north)
    assert largest(curl - vorticity) <= 1e-12 * largest(vorticity)
    assert largest(spread - divergence) <= 1e-12 * largest(divergence)
    assert np.array_equal(harmonics.divergence(east, north), spread)

    # The gradient of f is a wind whose divergence is the Laplacian of f, and div(f grad f) = |grad f|^2 + f laplacian f.
    f = random_coefficients(harmonics, 3) * (np.arange(22) <= 10)
    east, north = harmonics.wind(0 * f, f * harmonics.laplacian)
    field, laplacian = harmonics.synthesis(np.stack([f, f * harmonics.laplacian]))
    squared = (east**2 + north**2) / harmonics.cos2[:, None]
    difference = harmonics.synthesis(harmonics.divergence(field * east, field * north)) - squared - field * laplacian
    assert largest(difference) <= 1e-11 * largest(squared)
    assert abs(harmonics.integral(np.ones((32, 64))) / (4 * np.pi * 9) - 1) <= 1e-14


@pytest.mark.parametrize("angle", [0.0, 0.05, np.pi / 2 - 0.05, np.pi / 2])
def test_case_2_is_steady(example, angle):
    """Two days at truncation 21: geopotential within 1e-11, vorticity within 1e-10 of their largest values; over the
    poles, too."""
    model = example["shallow_water"].ShallowWater(32)
    start = example["williamson"].case_2(model, angle)
    before, after = model.fields(start), model.fields(model.run(start, 1200.0, 2 * DAY // 1200))
    assert largest(after[2] - before[2]) <= 1e-11 * largest(before[2])
    assert largest(after[0] - before[0]) <= 1e-10 * largest(before[0])
    assert largest(after[1]) <= 1e-10 * largest(before[0])


def test_case_6_conserves_and_moves_east(example):
    """A day at truncation 31. The wave moves by 12.2 degrees: the speed of a wave without divergence, Williamson et al.'s
    equation (136), is (r (3+r) w - 2 rotation) / ((1+r) (2+r)), a little more than with it."""
    module = example["shallow_water"]
    model = module.ShallowWater(48)
    start = example["williamson"].case_6(model)
    end = model.run(start, 600.0, DAY // 600)
    assert abs(model.mass(end) / model.mass(start) - 1) <= 1e-14
    assert abs(model.energy(end) / model.energy(start) - 1) <= 1e-7
    assert abs(model.enstrophy(end) / model.enstrophy(start) - 1) <= 1e-4
    r, w = 4, 7.848e-6
    expected = np.degrees((r * (3 + r) * w - 2 * module.ROTATION) / ((1 + r) * (2 + r)) * DAY)
    moved = np.degrees(np.angle(start[0, 4, 5] / end[0, 4, 5])) / 4
    assert 0.9 * expected <= moved <= expected
    others = np.arange(32) % 4 != 0  # wavenumbers other than 0, 4, 8 ... stay empty
    assert largest(end[0, others]) <= 1e-10 * largest(end[0])


def test_energy_is_lost_to_the_time_step_alone(example):
    """Half of the step loses a thirty-second: what Runge-Kutta damps is of the fifth order."""
    model = example["shallow_water"].ShallowWater(32)
    start = example["states"].initial(model, np.random.default_rng(4))
    start[..., 8:] = 0  # of what is left, six hours make nothing near the truncation
    changes = []
    for step in (1800.0, 900.0):
        end = model.run(start, step, round(6 * HOUR / step))
        changes.append(float(model.energy(end) / model.energy(start) - 1))
    assert changes[0] < 0 and 20 <= changes[0] / changes[1] <= 45, changes


def test_initial_states_are_nearly_in_balance(example):
    model = example["shallow_water"].ShallowWater(32)
    state = example["states"].initial(model, np.random.default_rng(0))
    vorticity, divergence, geopotential = model.fields(state)
    assert not divergence.any() and abs(geopotential.mean() / 5e4 - 1) <= 0.1 and geopotential.min() > 1e4
    east, north = model.harmonics.wind(state[0], state[1])
    speed = np.sqrt((east**2 + north**2) / model.harmonics.cos2[:, None])
    assert 30 <= speed.max() <= 120
    balanced = model.balanced(state[0], 5e4)
    unbalanced = model.harmonics.synthesis(model.tendency(state)[1])
    assert largest(model.tendency(balanced)[1, 1:, :]) <= 1e-12 * largest(model.tendency(state)[1])
    # The wind's own part alone begins a divergence that is many times larger.
    alone = state.copy()
    alone[2] = 0
    assert unbalanced.std() <= 0.3 * model.harmonics.synthesis(model.tendency(alone)[1]).std()


def test_states_depend_on_seed_and_number_alone_and_are_kept(example, tmp_path):
    states = example["states"]
    short = {"nlat": 16, "snapshots": 3, "hours": 2, "settling": 2}
    six = states.generate(states.Settings(count=6, **short), threads=2)
    five = states.load(states.Settings(count=5, **short), tmp_path)
    assert six.shape == (6, 3, 3, 16, 32) and np.isfinite(six).all()
    assert largest(six[:5] - five) <= 1e-5 * largest(six)
    assert largest(six[0] - six[1]) > 100
    written = (tmp_path / "states.npz").stat().st_mtime_ns
    assert np.array_equal(states.load(states.Settings(count=5, **short), tmp_path), five)
    assert (tmp_path / "states.npz").stat().st_mtime_ns == written
    other = states.load(states.Settings(count=5, seed=1, **short), tmp_path)
    assert largest(other[0] - five[0]) > 100
    with pytest.raises(ValueError, match="step=7200.0: the solver was not stable"):
        states.generate(states.Settings(count=1, nlat=64, snapshots=9, hours=2, settling=2, step=7200.0))
