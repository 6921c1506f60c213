"""A study from end to end: infer, check, draw, tell. A stage that stands is not done again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lanternfish.cli import figures, run_folder
from lanternfish.cli.console import Mistake, say
from lanternfish.cli.progress import watching
from lanternfish.cli.study_file import Study

if TYPE_CHECKING:
    from lanternfish.core import Model
    from lanternfish.core.run import Run
    from lanternfish.diagnostics import PredictiveCheck
    from lanternfish.inference.progress import Listener

SAMPLES = 5_000  # posterior samples in samples.csv and in the report


def conduct(study: Study, folder: Path, listener: Listener | None = None) -> None:
    """Run a study in its folder, print the report, and say where everything is.

    Args:
        listener: called with each progress, in place of bars or lines.
    """
    from lanternfish.cli import report, tables

    told = watching() if listener is None else contextlib.nullcontext(listener)
    with run_folder.sitting(folder):
        with _workers(study) as executor, told as tell:
            run = _posterior(study, folder, executor, tell)
            run, check = _checked(run, study, folder, executor, tell)
        samples = tables.posterior_samples(run, SAMPLES)
        tables.write_samples(samples, folder)
        figures.draw(run, study.model, samples, check, folder)
    report.publish(run, folder, samples)


@contextlib.contextmanager
def _workers(study: Study) -> Iterator[Executor | None]:
    """Threads for a chosen number of simulations at a time (for Python ones, each with a child)."""
    if study.workers is None:
        yield None
        return
    pool = ThreadPoolExecutor(study.workers, "lanternfish-worker")
    whole = False
    try:
        yield pool
        whole = True
    finally:
        pool.shutdown(wait=whole, cancel_futures=True)


def _posterior(study: Study, folder: Path, executor, tell: Listener) -> Run:
    from lanternfish.inference import infer

    if (folder / "run.json").is_file():
        say(f"The posterior stands in {folder} already.")
        return load(folder, study.model)
    return infer(
        study.model,
        study.target,
        study.method,
        executor=executor,
        seed=study.seed,
        store=folder,
        progress=tell,
    )


def _checked(
    run: Run, study: Study, folder: Path, executor, tell: Listener
) -> tuple[Run, PredictiveCheck | None]:
    """The run with its predictive check; simulations of the check are kept, too."""
    from lanternfish.core import EmergentProperty
    from lanternfish.diagnostics import predictive_check, property_check
    from lanternfish.inference.progress import Progress, Stage

    whole = "predictive" in run.checks and not figures.missing(run, study.model, folder)
    if study.check_samples == 0 or whole:
        return run, None
    stage = Stage("check", 1, 1)
    options = {
        "n": study.check_samples,
        "seed": study.seed,
        "executor": executor,
        "store": folder / "checks" / f"predictive-{study.check_samples}",
        "progress": lambda event: tell(Progress.of_simulation(stage, event)),
    }
    if isinstance(study.target, EmergentProperty):
        check = property_check(run.posterior, study.model, **options)
    else:
        check = predictive_check(run.posterior, study.model, reference(run), **options)
    if "predictive" not in run.checks:
        run = run.with_checks(predictive=check.finding)
        run.save(folder)
    return run, check


def reference(run: Run):
    """The simulations of the first round, which are draws from the prior."""
    rounds = run.history.get("rounds", [])
    return run.simulations[: rounds[0]["simulations"]] if rounds else run.simulations


def load(folder: Path, model: Model | None = None) -> Run:
    """The run of a folder.

    Raises:
        Mistake: if there is none, or not yet.
    """
    from lanternfish.core import DamagedFile
    from lanternfish.core.run import Run

    if not (folder / "run.json").is_file():
        study = run_folder.find_study(folder)  # or the sentence that there is none
        raise Mistake(
            f"Expected a finished run in {folder}; got one of {study.model.name} that is still to "
            f"be finished: `{run_folder.command('resume', folder)}` goes on with it."
        )
    try:
        return Run.load(folder, model=model)
    except DamagedFile:
        raise
    except ValueError:
        if model is not None or not (folder / run_folder.STUDY).is_file():
            raise
        return Run.load(folder, model=run_folder.find_study(folder).model)
