"""Errors by latitude and by lead time, and a forecast on maps."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

# Told apart by everyone, also by their lines.
STYLES = {
    "persistence": {"color": "0.45", "linestyle": ":"},
    "sphere": {"color": "#0072B2", "linestyle": "-"},
    "plane": {"color": "#E69F00", "linestyle": "--"},
}
UNITS = {"vorticity": (1e6, "10⁻⁶/s"), "divergence": (1e6, "10⁻⁶/s"), "geopotential": (1.0, "m²/s²")}

# Errors of each forecast, by name: (lead, channel, nlat) root mean squares.
Errors = dict[str, NDArray[np.float64]]


def by_latitude(errors: Errors, latitudes: NDArray[np.float64], leads: list[int], hours: int, path: Path) -> None:
    """A row for each lead, a column for each channel. Latitudes in degrees, north first."""
    figure, axes = plt.subplots(len(leads), len(UNITS), figsize=(12, 3.2 * len(leads)), layout="constrained",
                                sharex=True, squeeze=False)  # fmt: skip
    for row, lead in enumerate(leads):
        for channel, (name, (factor, unit)) in enumerate(UNITS.items()):
            axis = axes[row, channel]
            for each, values in errors.items():
                axis.plot(latitudes, factor * values[lead, channel], label=each, linewidth=1.8, **STYLES[each])
            axis.set_title(f"{name}, {lead * hours} h ahead")
            axis.set_ylabel(f"error, {unit}")
            axis.set_ylim(bottom=0)
            axis.set_xlim(-90, 90)
            axis.set_xticks(range(-90, 91, 30))
            axis.grid(alpha=0.3)
            if row == len(leads) - 1:
                axis.set_xlabel("latitude, degrees")
    axes[0, 0].legend(frameon=False)
    figure.suptitle("Error by latitude: root mean square over longitudes and held-out forecasts")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def by_lead(errors: Errors, hours: int, path: Path) -> None:
    """A column for each channel. Errors (lead, channel), over the sphere."""
    figure, axes = plt.subplots(1, len(UNITS), figsize=(12, 3.6), layout="constrained")
    for channel, (name, (factor, unit)) in enumerate(UNITS.items()):
        for each, values in errors.items():
            axes[channel].plot(hours * np.arange(len(values)), factor * values[:, channel], label=each, linewidth=1.8,
                               marker="o", markersize=3, **STYLES[each])  # fmt: skip
        axes[channel].set(title=name, xlabel="hours ahead", ylabel=f"error, {unit}")
        axes[channel].set_ylim(bottom=0)
        axes[channel].set_xlim(left=0)
        axes[channel].grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.suptitle("Error by lead time: root mean square over the sphere, each step from the one before")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def forecast_maps(
    channel: str, start: NDArray[np.float32], truth: NDArray[np.float32], forecasts: dict[str, NDArray[np.float32]],
    latitudes: NDArray[np.float64], hours: int, path: Path,
) -> None:  # fmt: skip
    """Start and truth, then forecast and error of each network: one channel, (nlat, nlon) each."""
    factor, unit = UNITS[channel]
    rows = 1 + len(forecasts)
    figure, axes = plt.subplots(rows, 2, figsize=(11, 3.0 * rows), layout="constrained",
                                subplot_kw={"projection": "mollweide"})  # fmt: skip
    middle = truth.mean() if channel == "geopotential" else 0.0
    top = factor * np.abs(truth - middle).max()
    # Errors are drawn on a scale of their own, the same for all networks.
    worst = factor * max(np.abs(each - truth).max() for each in forecasts.values())
    shown = [(axes[0, 0], f"{channel}, at the start", start), (axes[0, 1], f"truth, {hours} h later", truth)]
    shown += [(axes[row, 0], f"forecast, {name}", each) for row, (name, each) in enumerate(forecasts.items(), 1)]
    for axis, title, field in shown:
        fields = draw(axis, title, factor * (field - middle), latitudes, top)
    for row, each in enumerate(forecasts.values(), 1):
        title = f"its error: root mean square {factor * root_mean_square(each - truth, latitudes):.3g}"
        differences = draw(axes[row, 1], title, factor * (each - truth), latitudes, worst)
    bar = {"location": "bottom", "shrink": 0.7, "aspect": 35, "ticks": MaxNLocator(5)}
    from_mean = ", from its mean" if middle else ""
    figure.colorbar(fields, ax=axes[:, 0], label=f"{channel}{from_mean}, {unit}", **bar)
    figure.colorbar(differences, ax=axes[:, 1], label=f"error, {unit}", **bar)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw(axis: Axes, title: str, field: NDArray[np.floating], latitudes: NDArray[np.float64], top: float):  # noqa: ANN201
    """One map: longitude 0 in the middle, north up."""
    nlat, nlon = field.shape
    centred = np.roll(field, nlon // 2, 1)[::-1]  # the map wants rising longitudes and latitudes
    between = (latitudes[::-1][1:] + latitudes[::-1][:-1]) / 2
    rows = np.radians(np.concatenate([[-90], between, [90]]))
    # The first column's cells lie half at the left edge and half at the right one.
    columns = np.clip(np.linspace(-np.pi, np.pi, nlon + 1) - np.pi / nlon, -np.pi, None)
    columns, centred = np.append(columns, np.pi), np.concatenate([centred, centred[:, :1]], 1)
    drawn = axis.pcolormesh(columns, rows, centred, cmap="RdBu_r", vmin=-top, vmax=top)
    drawn.set_rasterized(True)
    axis.set_title(title, fontsize=11)
    axis.set_xticks(np.radians([-120, -60, 0, 60, 120]), [])
    axis.set_yticks(np.radians([-60, -30, 0, 30, 60]), ["60°S", "30°S", "0°", "30°N", "60°N"], fontsize=7)
    axis.grid(color="black", alpha=0.2, linewidth=0.5)
    return drawn


def root_mean_square(field: NDArray[np.floating], latitudes: NDArray[np.float64]) -> float:
    """Over the sphere; each circle counts as the cosine of its latitude."""
    weight = np.cos(np.radians(latitudes))[:, None] * np.ones_like(field)
    return float(np.sqrt(np.average(field.astype(np.float64) ** 2, weights=weight)))
