"""Trajectories to learn from: random weather, nearly in balance, and what the shallow-water equations make of it."""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from progress import progress
from shallow_water import ShallowWater
from spherical_harmonics import Complex

CHANNELS = ("vorticity", "divergence", "geopotential")
GEOPOTENTIAL = 5e4  # m^2/s^2, the mean: about 5 km, in which gravity waves travel at 224 m/s
CHUNK = 4  # trajectories that are integrated together


@dataclass(frozen=True)
class Settings:
    """What trajectories are made of. A change here makes the cache's file another one."""

    nlat: int = 64  # circles of latitude, Gaussian; twice as many longitudes
    count: int = 40  # trajectories
    snapshots: int = 21  # of each trajectory
    hours: int = 6  # from one snapshot to the next: the forecast step
    settling: int = 24  # hours before the first one
    step: float = 1200.0  # seconds of the solver's, at most; less on grids finer than 64 latitudes
    diffusion: float = 3e-5  # 1/s, of the shortest harmonics
    seed: int = 0


def initial(model: ShallowWater, generator: np.random.Generator) -> Complex:
    """Random eddies and jets of 12 to 24 m/s (the square mean of wind), in balance, and a little of what is not.

    Every harmonic's amplitude is drawn by itself, so that no direction and no pole is special but for the rotation.
    """
    harmonics = model.harmonics
    degrees = np.arange(harmonics.truncation + 1.0)
    # Largest for degree 8; eddies of some thousand kilometres, as in the atmosphere.
    size = degrees**2 * np.exp(-degrees / 4) * harmonics.kept
    vorticity, uneven = (
        size * (generator.standard_normal(size.shape) + 1j * generator.standard_normal(size.shape)) for _ in range(2)
    )
    for each in (vorticity, uneven):
        each[0] = each[0].real * np.sqrt(2)  # means by longitude are real
        each[:, 0] = 0
    east, north = harmonics.wind(vorticity, np.zeros_like(vorticity))
    mean = harmonics.integral((east**2 + north**2) / harmonics.cos2[:, None]) / harmonics.integral(np.ones_like(east))
    state = model.balanced(vorticity * generator.uniform(12, 24) / np.sqrt(mean), GEOPOTENTIAL)
    # Some 10 m of height that no wind balances: it leaves as gravity waves.
    field = harmonics.synthesis(uneven)
    state[2] += 100 / field.std() * uneven
    return state


def generate(settings: Settings, threads: int = 1) -> NDArray[np.float32]:
    """Snapshots (count, snapshots, channels, nlat, nlon). Trajectory i depends on the seed and i alone."""
    model = ShallowWater(settings.nlat, diffusion=settings.diffusion)
    steps = math.ceil(settings.hours * 3600 / (settings.step * min(1.0, 64 / settings.nlat)))
    step = settings.hours * 3600 / steps
    shape = (settings.count, settings.snapshots, len(CHANNELS), settings.nlat, 2 * settings.nlat)
    result = np.empty(shape, np.float32)
    done, start = 0, time.perf_counter()

    def chunk(first: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # it is said below if that happens
            integrate(first)

    def integrate(first: int) -> None:
        nonlocal done
        numbers = range(first, min(first + CHUNK, settings.count))
        state = np.stack([initial(model, np.random.default_rng((settings.seed, i))) for i in numbers])
        state = model.run(state, step, round(settings.settling * 3600 / step))
        for i in range(settings.snapshots):
            if i > 0:
                state = model.run(state, step, steps)
            result[first : numbers.stop, i] = model.fields(state)
            done += len(numbers)
            text = f"trajectories: {done / settings.snapshots:.0f} of {settings.count}"
            progress(done, settings.count * settings.snapshots, f"{text}, {time.perf_counter() - start:.0f} s")

    with ThreadPoolExecutor(threads) as pool:  # numpy lets go of the interpreter's lock
        list(pool.map(chunk, range(0, settings.count, CHUNK)))
    if not np.isfinite(result).all() or result[:, :, 2].min() <= 0:
        raise ValueError(f"step={settings.step}: the solver was not stable, or fell dry; take shorter steps")
    return result


def load(settings: Settings, folder: Path, threads: int = 1) -> NDArray[np.float32]:
    """The same from a file in `folder`, if it holds these settings; else generated, and written there."""
    path, wanted = folder / "states.npz", json.dumps(asdict(settings))
    if path.exists():
        with np.load(path) as file:
            if str(file["settings"]) == wanted:
                return file["states"]
    states = generate(settings, threads)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, settings=wanted, states=states)
    unfinished.replace(path)  # an interrupted run leaves no half of a file under the name
    return states
