"""Neural posterior estimation against closed forms; posteriors, runs, resuming, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.core import Folder
from lanternfish.inference import npe
from lanternfish.inference.truncation import TruncatedPrior

QUICK = lf.inference.Training(epochs=20)
SMALL = lf.flows.Architecture("maf", layers=2, width=16, depth=1)


def test_linear_gaussian_posterior(gaussian_run, exact):
    """Mean and covariance of the closed form: errors of 4,000 pairs, with a margin of about 5."""
    mean, covariance = exact()
    samples = gaussian_run.posterior.sample(20_000).array
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.1 * sd.min())
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.12 * sd.max() ** 2)


def test_log_prob_is_the_closed_form(gaussian_run, exact):
    mean, covariance = exact()
    theta = np.random.default_rng(0).multivariate_normal(mean, covariance, 500)
    away = theta - mean
    true = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    true -= np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(covariance)[1]
    assert np.mean(np.abs(gaussian_run.posterior.log_prob(theta) - true)) < 0.1


def test_amortised_posterior_at_another_observation(gaussian_run, exact):
    other = lf.Observation(x1=-0.5, x2=-2.0, x3=0.3)
    mean, covariance = exact(np.array([-0.5, -2.0, 0.3]))
    samples = gaussian_run.posterior.at(other).sample(20_000).array
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.2 * np.sqrt(np.diag(covariance)).min())


def test_map_of_a_gaussian_is_its_mean(gaussian_run, exact):
    mean, covariance = exact()
    best = gaussian_run.posterior.map()
    assert len(best) == 1
    np.testing.assert_allclose(best.array[0], mean, atol=0.3 * np.sqrt(np.diag(covariance)).min())


def test_gradient_against_finite_differences(gaussian_run):
    posterior = gaussian_run.posterior
    theta = posterior.sample(5, seed=3).array
    slope, step = posterior.gradient(theta), 1e-2
    for i in range(theta.shape[1]):
        shift = step * np.eye(theta.shape[1])[i]
        rise = (posterior.log_prob(theta + shift) - posterior.log_prob(theta - shift)) / (2 * step)
        np.testing.assert_allclose(slope[:, i], rise, atol=0.05)


def test_marginals_carry_names_and_units(gaussian_run):
    marginals = gaussian_run.posterior.marginals(2_000)
    assert [m.column.name for m in marginals] == ["a", "b"]
    assert "mS/cm2" in repr(marginals[0])
    axis = np.linspace(-8, 8, 400)
    assert np.trapezoid(marginals[0].density(axis), axis) == pytest.approx(1, abs=0.01)
    low, high = marginals[0].interval(0.8)
    assert np.mean((marginals[0].samples > low) & (marginals[0].samples < high)) == pytest.approx(
        0.8, abs=0.01
    )


def test_samples_are_repeatable_and_extend(gaussian_run):
    one = gaussian_run.posterior.sample(100, seed=5)
    assert np.array_equal(one.array, gaussian_run.posterior.sample(100, seed=5).array)
    assert not np.array_equal(one.array, gaussian_run.posterior.sample(100, seed=6).array)


def edge(theta, key):
    """Data that pull the posterior of ``a`` against its lower bound."""
    noise = jax.random.normal(key, (2,))
    return jnp.stack([theta["a"] + 0.2 * noise[0], theta["b"] * jnp.exp(0.02 * noise[1])])


@pytest.fixture(scope="module")
def edge_model():
    prior = lf.Prior(a=lf.Uniform(0, 1), b=lf.LogUniform(0.1, 10))
    return lf.Model(prior, lf.JaxSimulator(edge, outputs=("x", "y")), name="edge")


@pytest.fixture(scope="module", autouse=True)
def cut():
    """Rounds cut the prior, however wide the first posterior is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npe, "_WIDE", 1.0)
        yield


@pytest.fixture(scope="module")
def edge_run(edge_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edge")
    method = lf.NPE(1_200, rounds=2, density=SMALL, training=QUICK)
    return lf.infer(
        edge_model, lf.Observation(x=-0.1, y=1.0), method, seed=2, store=folder, progress=False
    ), folder


def test_nothing_leaks_and_nothing_is_lost(edge_run):
    """All samples lie inside the bounds, and the density integrates to 1 over them."""
    posterior = edge_run[0].posterior
    samples = posterior.sample(5_000).array
    assert posterior.prior.contains(samples).all()
    a, log_b = np.linspace(1e-4, 1 - 1e-4, 300), np.linspace(np.log(0.1), np.log(10), 1_200)
    grid = np.stack(np.meshgrid(a, log_b), -1).reshape(-1, 2)
    theta = np.stack([grid[:, 0], np.exp(grid[:, 1]).clip(0.1, 10)], 1)
    mass = np.exp(posterior.log_prob(theta)) * theta[:, 1]
    cell = (a[1] - a[0]) * (log_b[1] - log_b[0])
    assert mass.sum() * cell == pytest.approx(1, abs=0.03)
    assert posterior.log_prob([[1.5, 1.0]])[0] == -np.inf


def truncated(posterior, by):
    """A region; for rejection a wide one, of a tenth of the prior."""
    proposal = TruncatedPrior(posterior, epsilon=0.01, seed=0)
    if by == "rejection":
        ratios = proposal.log_ratio(posterior.prior.sample(8_192, seed=8).array)
        proposal.threshold, proposal.share = float(np.quantile(ratios, 0.9)), 0.1
    else:
        assert proposal.share < 0.02
    return proposal


@pytest.mark.parametrize("by", ["rejection", "chains"])
def test_proposals_are_the_prior_inside_the_region(edge_run, by):
    """Truncated proposals against plain rejection from draws of the prior's own sampler."""
    posterior = edge_run[0].posterior
    proposal = truncated(posterior, by)
    seeds = np.arange(4_000, dtype=np.uint64)
    drawn = proposal(seeds)
    assert np.mean(proposal.log_ratio(drawn) > proposal.threshold) > 0.999
    prior = posterior.prior.sample(200_000, seed=9).array
    kept = prior[proposal.log_ratio(prior) > proposal.threshold]
    assert len(kept) > 300
    for i, scale in enumerate((lambda v: v, np.log)):
        quantiles = np.quantile(scale(kept[:, i]), [0.1, 0.5, 0.9])
        reached = np.mean(scale(drawn[:, i])[:, None] < quantiles, axis=0)
        # 5 standard errors, of the draws and of the quantiles, for independent chains
        error = 0.5 * np.sqrt(1 / len(kept) + 1 / len(drawn))
        np.testing.assert_allclose(reached, [0.1, 0.5, 0.9], atol=5 * error)


@pytest.mark.parametrize("by", ["rejection", "chains"])
def test_a_proposal_depends_on_its_seed_alone(edge_run, by):
    proposal = truncated(edge_run[0].posterior, by)
    seeds = np.array([7, 8, 9, 10], np.uint64)
    assert np.array_equal(proposal(seeds)[2:], proposal(seeds[2:]))


def test_several_rounds_are_not_amortised(edge_run):
    with pytest.raises(ValueError, match=r"^Expected an amortised posterior.*got one of several"):
        edge_run[0].posterior.at(lf.Observation(x=0.0, y=1.0))


def test_run_folder_round_trip(edge_run):
    run, folder = edge_run
    again = lf.Run.load(folder)
    assert np.array_equal(again.posterior.sample(50).array, run.posterior.sample(50).array)
    assert np.array_equal(again.simulations.x.array, run.simulations.x.array)
    assert again.method == run.method | {"density": dict(run.method["density"])}
    assert again.history["rounds"][1]["simulations"] == 600


def test_the_same_call_again_gives_the_same_run(edge_run, edge_model, monkeypatch):
    """On a finished folder nothing is simulated or trained again, and the bits are the same."""
    run, folder = edge_run
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("shard-*")}
    method = lf.NPE(1_200, rounds=2, density=SMALL, training=QUICK)
    again = lf.infer(
        edge_model, lf.Observation(x=-0.1, y=1.0), method, seed=2, store=folder, progress=False
    )
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("shard-*")} == before
    assert np.array_equal(again.posterior.sample(50).array, run.posterior.sample(50).array)


class Interrupted(Exception):
    """Stands for a user who gives up."""


@pytest.mark.parametrize("stage", ["simulate", "train"])
def test_interrupted_then_resumed_equals_uninterrupted(edge_run, edge_model, tmp_path, stage):
    def give_up(event):
        if event.stage.name == stage and event.stage.round == 2 and event.share > 0.1:
            raise Interrupted

    method = lf.NPE(1_200, rounds=2, density=SMALL, training=QUICK)
    given = (edge_model, lf.Observation(x=-0.1, y=1.0), method)
    with pytest.raises(Interrupted):
        lf.infer(*given, seed=2, store=tmp_path, progress=give_up)
    resumed = lf.infer(*given, seed=2, store=tmp_path, progress=False)
    whole = edge_run[0]
    assert np.array_equal(resumed.simulations.theta.array, whole.simulations.theta.array)
    assert np.array_equal(resumed.posterior.sample(50).array, whole.posterior.sample(50).array)


def test_another_study_does_not_take_a_folder(edge_run, edge_model):
    with pytest.raises(ValueError, match=r"^Expected the study that .* got another seed"):
        lf.infer(
            edge_model, lf.Observation(x=-0.1, y=1.0),
            lf.NPE(1_200, rounds=2, density=SMALL, training=QUICK),
            seed=3, store=edge_run[1], progress=False,
        )  # fmt: skip


def test_arviz_export(gaussian_run):
    tree = gaussian_run.to_arviz(samples=200)
    assert tree["posterior"]["a"].shape == (1, 200)
    assert tree["posterior"]["a"].attrs["units"] == "mS/cm2"
    assert float(tree["observed_data"]["x1"]) == 1.0


def test_a_truncated_folder_says_so(gaussian_run, tmp_path):
    gaussian_run.save(tmp_path)
    weights = tmp_path / "posterior.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"^Expected a whole file posterior.safetensors"):
        lf.Run.load(tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected the file run.json"):
        lf.Run.load(tmp_path)


def test_a_later_format_says_so(gaussian_run, tmp_path):
    gaussian_run.save(tmp_path)
    folder = Folder(str(tmp_path))
    folder.write_json("run.json", {**folder.read_json("run.json"), "format": 99})
    with pytest.raises(ValueError, match=r"^Expected a run folder of format 1.*got format 99"):
        lf.Run.load(tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rounds": 0}, "rounds"),
        ({"simulations": 5}, "simulations"),
        ({"epsilon": 0.7}, "epsilon"),
        ({"density": "flow"}, "density"),
    ],
)
def test_bad_method(fields, words):
    with pytest.raises(ValueError, match=rf"^Expected .*{words}.*got"):
        lf.NPE(**fields)


def test_a_target_of_other_names(gaussian_model):
    with pytest.raises(ValueError, match=r"^Expected values for x1, x2, x3; got x3 missing and y"):
        lf.infer(gaussian_model, lf.Observation(x1=0, x2=0, y=0), progress=False)


def test_a_constant_statistic(gaussian_target):
    def flat(theta, key):
        return jnp.stack([theta["a"], theta["a"] + jax.random.normal(key), 0.0])

    simulator = lf.JaxSimulator(flat, outputs=("x1", "x2", "x3"))
    model = lf.Model(lf.Prior(a=lf.Uniform(0, 1)), simulator)
    with pytest.raises(ValueError, match=r"^Expected statistics that vary.*got x3 constant"):
        lf.infer(model, gaussian_target, lf.NPE(100), progress=False)


def test_all_simulations_invalid(gaussian_target):
    def broken(theta, key):
        return jnp.full(3, jnp.nan)

    model = lf.Model(lf.Prior(a=lf.Uniform(0, 1)), lf.JaxSimulator(broken, ("x1", "x2", "x3")))
    with pytest.raises(ValueError, match=r"^Expected at least 50 valid simulations.*got 0"):
        lf.infer(model, gaussian_target, lf.NPE(100), progress=False)


def curved(theta, key):
    """a and b on a circle: b given a has two branches, which a linear start cannot show."""
    noise = 0.05 * jax.random.normal(key, (2,))
    return jnp.stack([theta["a"] ** 2 + theta["b"] ** 2, theta["a"] * theta["b"]]) + noise


@pytest.fixture(scope="module")
def ensemble_run(tmp_path_factory):
    model = lf.Model(
        lf.Prior(a=lf.Uniform(-1, 1), b=lf.Uniform(-1, 1)), lf.JaxSimulator(curved, ("r", "p"))
    )
    folder = tmp_path_factory.mktemp("ensemble")
    method = lf.NPE(1_500, training=QUICK)
    target = lf.Observation(r=0.5, p=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lanternfish.inference.npe._RACED", 0)  # as if there were many pairs
        run = lf.infer(model, target, method, seed=0, store=folder, progress=False)
    return run, folder


def test_a_race_chooses_the_density_and_an_ensemble_tells_its_doubt(ensemble_run):
    run, folder = ensemble_run
    losses = run.history["rounds"][0]["race"]
    assert set(losses) == {"spline", "autoregressive", "maf", "mixture"}
    assert run.posterior.architecture.kind == min(losses, key=losses.get)
    assert run.posterior.members == 3
    assert 0 < run.posterior.disagreement() < np.log(3)
    again = lf.Run.load(folder).posterior
    assert np.array_equal(again.sample(50).array, run.posterior.sample(50).array)
    assert again.disagreement() == run.posterior.disagreement()


def test_an_ensemble_finds_all_branches(ensemble_run):
    """x is the same at (a, b), (b, a), (-a, -b), (-b, -a): a quarter of the posterior at each."""
    theta = ensemble_run[0].posterior.sample(4_000).array
    upper, first = theta.sum(1) > 0, np.abs(theta[:, 0]) > np.abs(theta[:, 1])
    shares = [np.mean((upper == u) & (first == f)) for u in (0, 1) for f in (0, 1)]
    assert np.all(np.abs(np.array(shares) - 0.25) < 0.12)


def test_flows_that_agree_do_not_disagree(gaussian_run):
    assert gaussian_run.posterior.disagreement() == 0
