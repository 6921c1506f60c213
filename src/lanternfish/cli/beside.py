"""EPI and SNPE on the same question, in one folder and on one page.

The study's property is given to EPI as it is, and to SNPE as an observation with a tolerance
(``inference.tolerance``), with as many simulations as EPI took.

| in the folder | content |
|---|---|
| ``epi/``, ``npe/`` | the two runs |
| ``beside.md`` | the page |
| ``figures/*.png`` | both densities; what both predict |
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lanternfish.cli.console import Mistake, out, say, sentence
from lanternfish.cli.progress import watching
from lanternfish.cli.report_markdown import number

if TYPE_CHECKING:
    from lanternfish.cli.study_file import Study
    from lanternfish.core.run import Run
    from lanternfish.landscape import Beside

PAGE = "beside.md"
_NAMES = ("EPI", "SNPE")


def compare(study: Study, folder: Path, simulations: int | None, rounds: int, n: int) -> None:
    """Run both, compare, write the page and print it.

    Args:
        simulations: of SNPE; None: as many as EPI took.
    """
    from lanternfish import landscape
    from lanternfish.core import EmergentProperty
    from lanternfish.inference import EPI, NPE, infer, tolerant

    target, method = study.target, study.method
    if not isinstance(target, EmergentProperty):
        raise Mistake(
            "Expected a property as target, such as {hub_frequency = [0.55, 0.025]}; got "
            f"{target!r:.80}: an observation has no EPI to stand beside."
        )
    method = method if isinstance(method, EPI) else EPI()
    model = study.model
    noisy, measured = tolerant(model, target, method.trials)
    with watching() as tell:
        say("EPI: the distribution of largest entropy that has the property.")
        epi = _finished(folder / "epi", model) or infer(
            model, target, method, seed=study.seed, store=folder / "epi", progress=tell
        )
        # a simulation of SNPE is a mean over trials, as it is for EPI
        budget = simulations or max(1_000, epi.history["simulated"] // method.trials)
        npe_method = NPE(simulations=budget, rounds=rounds)
        say(f"SNPE: the property as an observation with a tolerance, {budget:,} simulations.")
        npe = _finished(folder / "npe", noisy) or infer(
            noisy, measured, npe_method, seed=study.seed, store=folder / "npe", progress=tell
        )
    say("Simulating from both.")
    found = landscape.beside(
        epi.posterior, npe.posterior, model, names=_NAMES, statistics=tuple(target), n=n,
        trials=method.trials, seed=study.seed,
    )  # fmt: skip
    page = _page(study, epi, npe, found, method.trials, _pictures(found, model, target, folder))
    from lanternfish.core import Folder

    Folder(str(folder)).write(PAGE, page.encode())
    _print(page, folder)


def _finished(folder: Path, model) -> Run | None:
    from lanternfish.core.run import Run

    if not (folder / "run.json").is_file():
        return None
    say(f"{folder} stands already.")
    return Run.load(folder, model=model)


def _pictures(found: Beside, model, target, folder: Path) -> list[tuple[str, str]]:
    """What was drawn, as (path, title)."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        say("No pictures: pip install 'lanternfish[plot]' to have them.")
        return []
    from lanternfish import plot

    drawn = []
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    many = len(model.prior) > 12
    names = model.prior.names[:12] if many else None
    title = "Both densities: EPI shaded, SNPE as dashed contours"
    title += ", of the first twelve parameters" if many else ""
    pictures = {
        ("pair.png", title): lambda: plot.pair(
            found.sides[0].samples, reference=found.sides[1].samples, prior=model.prior,
            names=names, labels=_NAMES,
        ),
        ("statistics.png", "What both predict, in units of the property"): lambda: plot.beside(
            found, target
        ),
    }  # fmt: skip
    for (name, title), draw in pictures.items():
        try:
            plot.save(draw(), str(folder / "figures" / name))
        except (ValueError, TypeError, RuntimeError) as error:
            say(f"No picture {name}: {sentence(error)}", "yellow")
        else:
            drawn.append((f"figures/{name}", title))
    return drawn


def _page(study: Study, epi: Run, npe: Run, found: Beside, trials: int, pictures) -> str:
    a, b = found.sides
    target, name = study.target, study.model.name
    sims = epi.history["simulated"], len(npe.simulations) * trials
    seconds = [_seconds(run) for run in (epi, npe)]
    rows = [
        ("simulations", *(f"{n:,}" for n in sims)),
        ("seconds", *("" if s is None else f"{s:,.0f}" for s in seconds)),
        ("entropy (nats)", str(a.entropy), str(b.entropy)),
        ("KL to the other (nats)", str(a.divergence), str(b.divergence)),
        ("inside 99 % of the other", *(f"{100 * s.inside.value:.1f} %" for s in (a, b))),
        ("valid simulations", *(f"{100 * s.valid:.1f} %" for s in (a, b))),
    ]
    for i, column in enumerate(found.statistics):
        wanted = target[column.name]
        unit = f" ({column.unit})" if column.unit else ""
        asked = f"{column.name}{unit}, wanted {number(wanted.mean)} ± {number(wanted.sd, 3)}"
        rows.append((asked, *(f"{number(s.mean[i])} ± {number(s.sd[i], 3)}" for s in (a, b))))
    table = ["| | EPI | SNPE |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    lines = [
        f"# EPI beside SNPE: {target.name or 'a property'} of {name}", "",
        f"**{found.sentence}**", "",
        *table, "",
        f"Overlap, the integral of the smaller density: {found.overlap}.", "",
        f"- EPI: {epi.checks['convergence']['sentence']} {epi.checks['entropy']['sentence']}",
        f"- SNPE: {npe.method['simulations']:,} simulations in {_rounds(npe)}, "
        "with the property's mean as the measurement and its standard deviation as the "
        "measurement's error.", "",
        "EPI makes the statistics' standard deviation the wanted one. SNPE weighs each parameter "
        "set by how near it comes, exp(-u²/2), and leaves their mean and standard deviation to "
        "where the prior has mass.",
    ]  # fmt: skip
    for path, title in pictures:
        lines += ["", f"![{title}]({path})"]
    return "\n".join(lines) + "\n"


def _rounds(run: Run) -> str:
    rounds = run.method["rounds"]
    return "one round" if rounds == 1 else f"{rounds} rounds"


def _seconds(run: Run) -> float | None:
    clock = run.provenance.get("seconds")
    return None if clock is None else float(clock)


def _print(page: str, folder: Path) -> None:
    from rich.markdown import Markdown

    text = "\n".join(line for line in page.splitlines() if not line.startswith("!["))
    out().print(Markdown(text))
    say(f"The page is {folder / PAGE}.")
