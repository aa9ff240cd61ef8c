import numpy as np
import pytest
from scipy import stats

from ralr_viz.results.spectrum import SpectrumResult


def make(**changes) -> SpectrumResult:
    rng = np.random.default_rng(0)
    weights = rng.random((2, 2, 5))
    values = {
        name: np.array([1.0, 2.0]) for name in ("loss", "gradient_norm", "residual_max", "residual_min")
    }
    values |= {
        "models": ("baseline", "RALR"),
        "num_parameters": np.array([100, 100]),
        "lambda_max": np.array([50.0, 5.0]),
        "lambda_min": np.array([-20.0, -2.0]),
        "scaled_max": np.array([7.0, 8.0]),
        "scaled_residual": np.array([0.1, 2.0]),
        "overlap_max": np.array([0.5, 0.25]),
        "overlap_min": np.array([0.01, 0.02]),
        "learning_rate": np.array([0.1, np.nan]),
        "trace_samples": 100 + rng.standard_normal((2, 6)),
        "nodes": np.sort(10 * rng.random((2, 2, 5)), axis=2),
        "weights": weights / weights.sum(axis=2, keepdims=True),
        "products": np.array([30, 40]),
        "num_images": 64,
        "batch": 32,
        "seed": 0,
        "resamples": 800,
    }
    return SpectrumResult(**(values | changes))


def test_density_integrates_to_one_and_has_the_mean_of_its_nodes():
    result, grid = make(), np.linspace(-5, 15, 8001)
    density = result.density(grid, 0.2)
    assert np.trapezoid(density, grid, axis=1) == pytest.approx(1, abs=1e-6)
    mean = (result.weights * result.nodes).sum(axis=2).mean(axis=1)
    assert np.trapezoid(density * grid, grid, axis=1) == pytest.approx(mean, abs=1e-6)


def test_trace_and_its_error_are_those_of_the_probes():
    result = make()
    assert result.trace == pytest.approx(result.trace_samples.mean(axis=1))
    assert result.trace_error == pytest.approx(result.trace_samples.std(axis=1, ddof=1) / 6**0.5)
    assert np.isnan(make(trace_samples=np.ones((2, 1))).trace_error).all()


def test_measures_lead_with_the_one_that_rescaling_cannot_move():
    result = make()
    measures = {m.name: m for m in result.measures()}
    assert result.measures()[0].name == "scaled_lambda_max"
    assert measures["lambda_min"].values == pytest.approx([-20, -2])  # signed
    assert measures["lambda_ratio"].values == pytest.approx([0.4, 0.4])
    assert measures["eta_lambda_max"].values[0] == pytest.approx(5) and np.isnan(
        measures["eta_lambda_max"].values[1]
    )
    trace = measures["hessian_trace"]
    assert trace.draws.shape == (2, 800) and trace.resampled == "probes"
    student = stats.ttest_1samp(result.trace_samples[0], 0).confidence_interval()
    assert trace.interval(0)[1:] == pytest.approx(student)
    assert trace.draws[0].std() == pytest.approx(result.trace_samples[0].std() / 6**0.5, rel=0.15)
    assert result.converged.tolist() == [[True, True, True], [False, False, False]]
