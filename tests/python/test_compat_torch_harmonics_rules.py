"""nearfield.compat.torch_harmonics: wrong arguments, and what its package has beside the modules."""

import math

import pytest

torch = pytest.importorskip("torch")

import literal  # noqa: E402
import nearfield  # noqa: E402
from definition_sphere import Grid  # noqa: E402
from nearfield.compat import torch_harmonics as th  # noqa: E402
from nearfield.compat.torch_harmonics import AttentionS2, NeighborhoodAttentionS2, QuadratureS2  # noqa: E402

GAUSS, LOBATTO, TRAPEZOIDS = "legendre-gauss", "lobatto", "equiangular-trapezoidal"


# ---- what they refuse ------------------------------------------------------------------------------------------------


def test_dropping_weights_is_refused_in_training_alone():
    layer, x = AttentionS2(4, 2, (5, 8), (5, 8), drop_rate=0.25), torch.randn(1, 4, 5, 8)
    with pytest.raises(
        nearfield.UnsupportedError, match=r"drop_rate=0\.25: .*: set drop_rate=0 to train, or call eval"
    ):
        layer(x)
    same = AttentionS2(4, 2, (5, 8), (5, 8))
    same.load_state_dict(layer.state_dict())
    assert torch.equal(layer.eval()(x), same(x))


G = "'equiangular', 'legendre-gauss', 'lobatto', 'equiangular-trapezoidal'"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"in_channels": 0}, "in_channels=0: must be at least 1"),
        ({"num_heads": 3}, "num_heads=3: must divide k_channels=8"),
        ({"num_heads": 4, "out_channels": 6}, "num_heads=4: must divide out_channels=6"),
        ({"in_shape": (1, 8)}, "in_shape[0]=1: must be at least 2 on a grid of latitudes 'equiangular'"),
        ({"in_shape": (1, 8), "grid_in": GAUSS}, "in_shape[0]=1: must be at least 2 where keys are on it"),
        ({"out_shape": (5, 0)}, "out_shape[1]=0: must be at least 1"),
        ({"out_shape": (5, 12)}, "in_shape[1]=8: must divide out_shape[1]=12 or be a multiple of it"),
        ({"grid_in": "gauss"}, f"grid_in='gauss': must be one of {G}; did you mean 'legendre-gauss'?"),
        ({"grid_in": "equidistant"}, "grid_in='equidistant': is 'equiangular-trapezoidal' since torch-harmonics 0.9.1"),
        ({"grid_out": "healpix"}, f"grid_out='healpix': must be one of {G}"),
        ({"scale": torch.ones(3, 1, 1)}, "scale: is a tensor of shape (3, 1, 1): must be one number"),
    ],
)
def test_wrong_arguments(settings, message):
    for kind in (AttentionS2, NeighborhoodAttentionS2):
        arguments = {"in_channels": 8, "in_shape": (5, 8), "out_shape": (5, 8), "num_heads": 2, **settings}
        with pytest.raises(nearfield.ArgumentError) as raised:
            kind(**arguments)
        broadcast = ", or broadcast against (2, 1, 4)" if "scale" in settings and kind is AttentionS2 else ""
        assert str(raised.value) == message + broadcast


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"theta_cutoff": 0}, "theta_cutoff=0.0: must be above 0"),
        ({"theta_cutoff": math.nan}, "theta_cutoff=nan: must be above 0"),
        (
            {"out_shape": (1, 8), "grid_out": GAUSS},
            "theta_cutoff=None: must be given where out_shape[0]=1, which has no step of latitude",
        ),
        ({"scale": torch.ones(2, 1, 1)}, "scale: is a tensor of shape (2, 1, 1): must be one number"),
    ],
)
def test_wrong_neighborhoods(settings, message):
    with pytest.raises(nearfield.ArgumentError) as raised:
        NeighborhoodAttentionS2(
            **{"in_channels": 8, "in_shape": (5, 8), "out_shape": (5, 8), "num_heads": 2, **settings}
        )
    assert str(raised.value) == message


def test_wrong_types():
    for settings, message in (
        ({"in_shape": 5}, "in_shape=5: must be (nlat, nlon)"),
        ({"out_shape": (5, 8.0)}, "out_shape[1]=8.0: must be an integer"),
        ({"theta_cutoff": "far"}, "theta_cutoff='far': must be a number"),
        ({"scale": "auto"}, "scale='auto': must be a number"),
    ):
        with pytest.raises(TypeError) as raised:
            NeighborhoodAttentionS2(**{"in_channels": 8, "in_shape": (5, 8), "out_shape": (5, 8), **settings})
        assert str(raised.value) == message
    with pytest.raises(nearfield.ArgumentError, match="drop_rate=1: must be at least 0 and below 1"):
        AttentionS2(8, 2, (5, 8), (5, 8), drop_rate=1)


def test_wrong_inputs():
    layer = NeighborhoodAttentionS2(4, (9, 16), (5, 8))
    query, key = torch.zeros(1, 4, 5, 8), torch.zeros(1, 4, 9, 16)
    keys = r"must be \(batch, 4, 9, 16\): batch, in_channels, in_shape"
    with pytest.raises(nearfield.ArgumentError, match=rf"key: shape \(1, 4, 5, 8\): {keys}"):
        layer(query)
    with pytest.raises(nearfield.ArgumentError, match=rf"value: shape \(1, 4, 5, 8\): {keys}"):
        layer(query, key)
    with pytest.raises(nearfield.ArgumentError, match=r"query: shape \(4, 5, 8\): must be \(batch, 4, 5, 8\)"):
        layer(query[0], key, key)
    with pytest.raises(TypeError, match="value: is a ndarray: must be a torch.Tensor"):
        layer(query, key, key.numpy())


# ---- the rest of the package -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("latitudes", ["equiangular", GAUSS, LOBATTO, TRAPEZOIDS])
def test_quadrature(latitudes):
    colatitudes, weights = th.quadrature.precompute_latitudes(7, latitudes)
    grid = Grid(7, 6, latitudes)
    for found, expected in zip((colatitudes, weights), grid.circles(), strict=True):
        assert found.dtype == torch.float64 and literal.error(found, torch.from_numpy(expected.copy())) <= 1e-13
    longitudes = th.quadrature.precompute_longitudes(6)
    assert literal.error(longitudes, torch.arange(6).double() * math.pi / 3) <= 1e-14

    step = th.quadrature.compute_latitude_spacing(7, latitudes)
    assert step == pytest.approx(max(grid.circles()[0][1:] - grid.circles()[0][:-1]), rel=1e-12)

    total = QuadratureS2((7, 6), latitudes)
    assert not total.state_dict() and total.quad_weight.shape == (1, 1, 7, 6)
    x = torch.randn(2, 3, 7, 6)
    right = (x.double() * torch.from_numpy(grid.areas())[:, None]).sum((-2, -1))
    assert total(x).dtype == torch.float32 and literal.error(total(x), right) <= 1e-5
    assert literal.error(QuadratureS2((7, 6), latitudes, normalize=True)(x), right / (4 * math.pi)) <= 1e-6
    with pytest.raises(
        nearfield.ArgumentError, match=r"x: shape \(2, 3, 6, 7\): must be \(\.\.\., 7, 6\), of img_shape"
    ):
        total(x.mT)


def test_wrong_quadrature():
    with pytest.raises(nearfield.ArgumentError, match="^grid='gauss': must be one of .* did you mean 'legendre-gauss'"):
        th.quadrature.precompute_latitudes(5, "gauss")
    with pytest.raises(nearfield.ArgumentError, match=r"^img_shape\[0\]=1: must be at least 2 on a grid of latitudes"):
        QuadratureS2((1, 8))
    with pytest.raises(nearfield.ArgumentError, match="^nlat=1: must be at least 2: one circle has no step"):
        th.quadrature.compute_theta_cutoff(1, GAUSS)
    with pytest.raises(nearfield.ArgumentError, match="^nlon=0: must be at least 1"):
        th.quadrature.precompute_longitudes(0)


def test_names_that_torch_harmonics_has_besides():
    assert th.attention.optimized_kernels_is_available() and not th.attention.cuda_kernels_is_available()
    assert th.attention.AttentionS2 is AttentionS2 and th.__version__ == "0.9.3"
    with pytest.raises(ImportError, match="^RealSHT: .*: import it from torch_harmonics"):
        from nearfield.compat.torch_harmonics import RealSHT  # noqa: F401
    with pytest.raises(ImportError, match="^lobatto_weights: .* precompute_latitudes.n, 'lobatto'.*"):
        th.quadrature.lobatto_weights(5)
    assert not hasattr(th, "no_such_name") and not hasattr(th.quadrature, "no_such_name")
