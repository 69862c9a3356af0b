"""Runs scikit-image's denoise_nl_means on what nearfield_denoise left in a directory and prints both side by side.

    compare.py OUTPUT_DIR

Reads original.npy, noisy.npy, denoised.npy and results.json; writes scikit_image_slow.png.
"""

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
from skimage.io import imsave
from skimage.restoration import denoise_nl_means


def psnr(image: np.ndarray, original: np.ndarray) -> float:
    """As nearfield_denoise counts: clipped to [0, 1], for a peak of 1."""
    difference = np.clip(image, 0, 1).astype(np.float64) - original
    return float(-10 * np.log10(np.mean(difference**2)))


def with_clock(label: str, function) -> tuple[np.ndarray, float]:
    """Calls function() and shows, on a terminal, for how long it has been running."""
    done = threading.Event()
    start = time.perf_counter()

    def tick() -> None:
        while not done.wait(1.0):
            print(f"\r  {label}: {time.perf_counter() - start:.0f} s", end="", flush=True)

    ticker = threading.Thread(target=tick)
    print(f"  {label} ...", end="", flush=True)
    if sys.stdout.isatty():
        ticker.start()
    try:
        image = function()
        seconds = time.perf_counter() - start
    finally:
        done.set()
        if ticker.is_alive():
            ticker.join()
    print(f"\r  {label}: {seconds:.1f} s" if sys.stdout.isatty() else f" {seconds:.1f} s")
    return image, seconds


def main(directory: Path) -> None:
    original, noisy, denoised = (np.load(directory / f"{name}.npy") for name in ("original", "noisy", "denoised"))
    results = json.loads((directory / "results.json").read_text())
    sigma, h = results["sigma"], results["h"]

    def scikit_image(strength: float, fast_mode: bool) -> np.ndarray:
        # float32 as nearfield; it is also the faster type here.
        filtered = denoise_nl_means(
            noisy,
            patch_size=results["patch_size"],
            patch_distance=results["patch_distance"],
            h=strength,
            sigma=sigma,
            fast_mode=fast_mode,
            channel_axis=-1,
        )
        return filtered.reshape(noisy.shape)

    print("scikit-image's denoise_nl_means on the same noisy values (one thread: it has no more)")
    slow, slow_seconds = with_clock("slow mode, about half a minute", lambda: scikit_image(h, False))
    fast, fast_seconds = with_clock("fast mode", lambda: scikit_image(h, True))
    # Fast mode weights all of a patch alike, so it needs a smaller h; 0.6 sigma is about its best on this image.
    tuned, tuned_seconds = with_clock("fast mode with an h that suits it", lambda: scikit_image(0.6 * sigma, True))
    imsave(
        directory / "scikit_image_slow.png",
        np.round(255 * np.clip(slow, 0, 1)).squeeze().astype(np.uint8),
    )

    rows = [("noisy image", psnr(noisy, original), None)]
    for run in results["runs"]:
        threads = f"{run['threads']} thread" + ("s" if run["threads"] != 1 else "")
        rows.append(
            (
                f"nearfield, {threads}, h = {h:.3g}",
                psnr(denoised, original),
                run["seconds"],
            )
        )
    rows.append((f"scikit-image slow mode, h = {h:.3g}", psnr(slow, original), slow_seconds))
    rows.append((f"scikit-image fast mode, h = {h:.3g}", psnr(fast, original), fast_seconds))
    rows.append(
        (
            f"scikit-image fast mode, h = {0.6 * sigma:.3g}",
            psnr(tuned, original),
            tuned_seconds,
        )
    )

    print(f"\n  {'':34} {'PSNR':>9} {'time':>9} {'slow mode takes':>17}")
    for name, decibels, seconds in rows:
        times = "" if seconds is None else f"{seconds:7.2f} s {slow_seconds / seconds:11.1f} times"
        print(f"  {name:34} {decibels:6.2f} dB {times}")
    rms = float(np.sqrt(np.mean((slow.astype(np.float64) - denoised) ** 2)))
    print(f"\n  nearfield and slow mode differ by {rms:.4f} root mean square (the noise: {sigma:.3g})")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]))
    except FileNotFoundError as error:
        sys.exit(f"compare: {error.filename}: missing; run nearfield_denoise first, without --no-noise")
