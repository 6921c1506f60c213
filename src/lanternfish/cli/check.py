"""``lanternfish check``: all checks of a run in its folder, kept, drawn and told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from lanternfish.cli.console import Mistake, say, sentence
from lanternfish.cli.progress import watching

if TYPE_CHECKING:
    from lanternfish.core import Model
    from lanternfish.core.checks import Checks


def check_folder(
    folder: Path, simulations: int, seed: int, model: str | None, workers: int | None
) -> None:
    """Check the run of a folder within a budget, and print its report."""
    from lanternfish.cli.conduct import SAMPLES, load
    from lanternfish.cli.report import publish
    from lanternfish.cli.tables import posterior_samples
    from lanternfish.inference.progress import Progress, Stage

    studied = model_of(folder, model) if simulations else None
    run = load(folder, studied)
    stage = Stage("check", 1, 1)
    pool = nullcontext() if workers is None else ThreadPoolExecutor(workers, "lanternfish-worker")
    with pool as executor, watching() as tell:
        found = run.check(
            simulations,
            seed,
            executor=executor,
            progress=lambda event: tell(Progress.of_simulation(stage, event)),
        )
    draw(found, folder)
    publish(run, folder, posterior_samples(run, SAMPLES))
    for name, why in found.left_out.items():
        say(f"Not made: {name}, because {why}.".replace("..", "."))


def model_of(folder: Path, given: str | None = None) -> Model:
    """The model of a run's folder, or the one that is given as FILE.py:NAME.

    Raises:
        Mistake: if neither is there.
    """
    from lanternfish.cli import run_folder
    from lanternfish.cli.zoo import ZOO, file_model, zoo_model

    if given is None:
        return run_folder.find_study(folder).model
    place, colon, name = given.rpartition(":")
    if colon:
        return file_model(Path(place), name)
    if given in ZOO:
        return zoo_model(given)
    raise Mistake(f'Expected a model as FILE.py:NAME, or one of {", ".join(ZOO)}; got "{given}".')


def draw(found: Checks, folder: Path) -> None:
    """``figures/checks.png``; a picture that cannot be drawn costs one sentence."""
    try:
        from lanternfish import plot

        picture = plot.checks(found)
    except (ImportError, ValueError) as error:
        say(f"No picture checks.png: {sentence(error)}", "yellow")
        return
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    plot.save(picture, str(folder / "figures" / "checks.png"))
