"""The command line. Each command is a dataclass: its docstring and those of its fields are what `--help` shows.

torch and trl take seconds to load, so each command imports what it needs itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.text import Text

from reproduce.cli.parsing import SETTINGS, check_names, parse, parse_with_tyro
from reproduce.core.files import UserError, refusal
from reproduce.core.machine import available_cores
from reproduce.core.names import escaped
from reproduce.core.slices import parse_duration, slice_of

if TYPE_CHECKING:
    from reproduce.plan.experiment import Experiment
    from reproduce.runs.executors import Executor

QUIET_AND_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # Silences the warning of Python's resource tracker about what stopped workers held.
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
"""Settings of libraries; what the environment already says wins. Workers inherit them."""

Paper = Annotated[
    str, tyro.conf.Positional, tyro.conf.arg(metavar="PAPER", help="Key of the paper; `list` shows them.")
]
Profile = Annotated[str, tyro.conf.arg(metavar="PROFILE", help="Sizes of the experiment; `list` shows the profiles.")]
Settings = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        name="set",
        metavar="FIELD=VALUE",
        help="Change fields of the profile; lists with commas: evaluation.caps=0,2,5.",
    ),
]
Model = Annotated[
    str,
    tyro.conf.arg(
        metavar="PATH_OR_NAME",
        help="Start from this checkpoint instead of a policy made here: a folder, or a name in the Hugging Face cache.",
    ),
]
Folder = Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
OptionalFolder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]


@dataclass(frozen=True)
class List:
    """Show papers with their claims, arms and profiles."""

    paper: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="PAPER")] = None
    """Key of one paper; all when left out."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.overview import show_papers

        show_papers(console, self.paper)


@dataclass(frozen=True)
class Plan:
    """Show what `run` would do: runs, episodes, time, disk and the effects that could be found. Without a paper, what
    every profile of every paper costs."""

    paper: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="PAPER")] = None
    """Key of the paper; `list` shows them."""
    profile: Profile = "laptop"
    model: Model = ""
    settings: Settings = ()
    runs: Folder = Path("runs")
    """Folder of the runs; complete ones are marked."""
    workers: int = field(default_factory=available_cores)
    """Worker processes the time is estimated for."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.plan import show_plan
        from reproduce.plan.open import open_experiment

        _at_least_one(workers=self.workers)
        if self.paper is None:
            from reproduce.cli.cost_table import show_cost

            show_cost(console)
            return
        settings = _with_model(self.settings, self.model)
        show_plan(console, open_experiment(self.paper, self.profile, settings, self.runs), self.workers)


@dataclass(frozen=True)
class Run:
    """Train and evaluate every run of a paper's plan, or what is left of it, and write the records."""

    paper: Paper
    profile: Profile = "laptop"
    model: Model = ""
    settings: Settings = ()
    runs: Folder = Path("runs")
    """Where run folders go, below PROFILE/PAPER."""
    workers: int | None = None
    """Worker processes; each takes one seed at a time. When left out, one for each core, or for each GPU where
    hardware.device is cuda."""
    threads: int = 1
    """Threads of each worker. Another number may change the last bit of a result."""
    executor: Annotated[Literal["local", "ray"], tyro.conf.arg(metavar="local|ray")] = "local"
    """local: --workers processes of this machine. ray: the nodes of a Ray cluster; the folder of the runs must lie on
    storage that they share, and this package be installed on each."""
    address: Annotated[str, tyro.conf.arg(metavar="HOST:PORT")] = "auto"
    """ray: the cluster. auto: the one this machine is part of."""
    cores_per_run: int | None = None
    """ray: cores reserved for a run; --threads when left out."""
    gpus_per_run: float = 0.0
    """ray: GPUs reserved for a run; 0.5 lets two share one."""
    retries: int = 3
    """ray: how often the runs of a seed continue on another worker when theirs is lost."""
    slice: Annotated[str, tyro.conf.arg(metavar="DURATION")] = ""
    """Stop after this time, such as 90s, 8min or 1h, where the same command continues: at a checkpoint of training or
    after a part of an evaluation. What is under way is ended first, a warm start whole."""
    report: bool = False
    """Also write the report once all runs are complete."""
    seeds_only: Annotated[str, tyro.conf.arg(metavar="A,B")] = ""
    """Only these seeds, with commas between them. Records are written once all seeds are complete."""
    rebuild_base: bool = False
    """Warm-start the bases here, even those that come with the package."""
    redo: bool = False
    """Discard the run folders of the plan and begin again."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.run import report_experiment, run_experiment
        from reproduce.plan.open import open_experiment

        _at_least_one(workers=1 if self.workers is None else self.workers, threads=self.threads)
        seconds = parse_duration(self.slice) if self.slice else None
        # The nodes of a cluster have working folders of their own.
        runs = self.runs.absolute() if self.executor == "ray" else self.runs
        settings = _with_model(self.settings, self.model)
        experiment = open_experiment(self.paper, self.profile, settings, runs)
        seeds = _numbers("--seeds-only", self.seeds_only) if self.seeds_only else None
        executor = self._executor(console, experiment)
        with slice_of(seconds):
            records = run_experiment(console, experiment, seeds, executor, self.rebuild_base, self.redo)
        if records is not None:
            from reproduce.cli.verdicts import show_verdicts

            show_verdicts(console, experiment.paper, records)
        if self.report and records is not None:
            own = records == experiment.records_folder
            out = None if own else experiment.folder / "report"
            report_experiment(console, self.paper, self.profile, runs, records, out)

    def _executor(self, console: Console, experiment: Experiment) -> Executor:
        from reproduce.runs.executors import local_executor, ray_executor
        from reproduce.runs.ray_executor import RayOptions

        hardware = experiment.plan[0].hardware
        if self.executor == "local":
            for item in fields(RayOptions):
                given, default = getattr(self, item.name), getattr(Run, item.name)
                if given != default:
                    raise UserError(f"--{item.name.replace('_', '-')} {given}: needs --executor ray")
            return local_executor(self.workers, hardware, self.threads, console)
        cores = self.threads if self.cores_per_run is None else self.cores_per_run
        _at_least_one(**{"cores-per-run": cores})
        if self.retries < 0:
            raise UserError(f"--retries {self.retries}: must not be negative")
        options = RayOptions(self.address, cores, self.gpus_per_run, self.retries)
        environment = {name: os.environ[name] for name in QUIET_AND_OFFLINE}
        return ray_executor(options, hardware, self.threads, experiment.folder, environment, console)


@dataclass(frozen=True)
class Report:
    """Test the claims on the records and write report.md and report.pdf. Needs no model."""

    paper: Paper
    profile: Profile = "laptop"
    runs: Folder = Path("runs")
    """Folder of the runs; records are collected from it where there are none yet."""
    records: OptionalFolder = None
    """Folder of the records; when left out, results/PROFILE/PAPER/records, or the reference below reports."""
    out: OptionalFolder = None
    """Folder for the report; results/PROFILE/PAPER when left out."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.run import report_experiment

        report_experiment(console, self.paper, self.profile, self.runs, self.records, self.out)


@dataclass(frozen=True)
class Calibrate:
    """Try how often the verdicts on a paper's records err, and whether they find effects of the printed size. Keeps the
    table beside the records; a minute, no model."""

    paper: Paper
    profile: Profile = "laptop"
    records: OptionalFolder = None
    """Folder of the records; when left out, results/PROFILE/PAPER/records, or the reference below reports."""
    replications: int = 1_000
    """Simulated studies of each kind."""
    relabellings: int = 500
    """Times that the arms of the records exchange their names."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.verdicts import calibrate_paper

        calibrate_paper(console, self.paper, self.profile, self.records, self.replications, self.relabellings)


@dataclass(frozen=True)
class Compare:
    """Set the verdicts of two replications side by side. Exit code 1 where some differ."""

    theirs: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="THEIRS")]
    """A verdicts.json, the folder of a report, or a folder of reports such as reports/laptop."""
    ours: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OURS")]
    """The same of the other replication, such as results/laptop."""

    def carry_out(self, console: Console) -> int:
        from reproduce.cli.verdicts import compare_replications

        return 0 if compare_replications(console, self.theirs, self.ours) else 1


@dataclass(frozen=True)
class Summary:
    """Write one page on all papers, README.md and summary.pdf, from their verdicts.json alone."""

    profile: Profile = "laptop"
    out: Folder = Path("reports")
    """Folder for the page; the reports lie below it in PROFILE/PAPER."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.verdicts import summarise

        summarise(console, self.profile, self.out / self.profile, self.out)


@dataclass(frozen=True)
class Audit:
    """Recompute what the published numbers of the papers support, and write report.md and report.pdf. Seconds, no
    model."""

    out: Folder = Path("reports/published")
    """Folder for the report."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.audit import write_audit

        write_audit(self.out, console)


@dataclass(frozen=True)
class Verify:
    """Check the sha256 of every base, run and set of records, write reports anew and compare them byte for byte, and
    show the files that each number rests on."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")] = Path("reports")
    """Folder of runs or of reports."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.verify import show_verification

        show_verification(console, self.folder)


@dataclass(frozen=True)
class Show:
    """Print episodes of a run as readable transcripts."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, such as runs/laptop/pass_kt/retrieval/grpo/seed-0."""
    panel: Annotated[str | None, tyro.conf.arg(metavar="PANEL")] = None
    """Panel of the questions, test or ood; when left out, test, or with --question the panel it is in."""
    category: Annotated[str | None, tyro.conf.arg(metavar="CATEGORY")] = None
    """Category of the questions, such as bridge."""
    T: Annotated[int | None, tyro.conf.arg(metavar="T")] = None
    """Cap on tool rounds."""
    estimator: Annotated[str | None, tyro.conf.arg(metavar="ESTIMATOR")] = None
    """independent or prefix-fork."""
    question: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None
    """Identifier of one question."""
    success: bool = False
    """Only episodes that succeeded."""
    failure: bool = False
    """Only episodes that failed."""
    number: int = 3
    """How many episodes to show."""
    seed: int = 0
    """Which of the episodes that fit are drawn."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.show import EpisodeFilter, show_episodes

        if self.success and self.failure:
            raise UserError("--success and --failure exclude each other")
        _at_least_one(number=self.number)
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: must not be negative")
        wanted = EpisodeFilter(
            panel=self.panel or (None if self.question else "test"),
            category=self.category,
            T=self.T,
            estimator=self.estimator,
            question=self.question,
            success=True if self.success else False if self.failure else None,
        )
        show_episodes(console, self.run, wanted, self.number, self.seed)


@dataclass(frozen=True)
class Play:
    """Play a task of an environment in the terminal; Ctrl-D stops. No model."""

    environment: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENVIRONMENT")]
    """retrieval, countdown, cooking, household or reasoning."""
    panel: Annotated[str, tyro.conf.arg(metavar="PANEL")] = "test"
    """train, test or ood."""
    category: Annotated[str | None, tyro.conf.arg(metavar="CATEGORY")] = None
    """Category of the task; any when left out."""
    number: int = 0
    """Which task, counted from 0."""
    texts: Annotated[str, tyro.conf.arg(metavar="TEXTS")] = "full"
    """full: the engine's own words; terse: the few that a tiny model reads."""
    rounds: int | None = None
    """Actions until the episode ends; the task's own horizon when left out."""
    expert: bool = False
    """Watch the scripted expert instead."""
    explain: bool = False
    """Print what the task asks, where its trap lies and a solution; do not play."""
    seed: int = 0
    """Seed of the panel."""
    alfworld_data: OptionalFolder = None
    """household: play the official games of this folder."""
    skip_broken: bool = False
    """household, reasoning: leave out games that cannot be played and rows without an answer, after saying which,
    instead of stopping."""
    dataset: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """reasoning: a JSONL or Parquet file with columns question and answer; retrieval: a folder with HotpotQA,
    2WikiMultihopQA or MuSiQue."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.play import open_game, play_in_terminal

        if min(self.number, self.seed) < 0:
            raise UserError("--number and --seed must not be negative")
        if self.rounds is not None:
            _at_least_one(rounds=self.rounds)
        game = open_game(
            self.environment,
            self.panel,
            self.category,
            self.number,
            self.texts,
            self.rounds,
            self.seed,
            self.alfworld_data,
            self.dataset,
            self.skip_broken,
        )
        play_in_terminal(console, game, self.expert, self.explain)


@dataclass(frozen=True)
class Panels:
    """Hold official games against the panels that published results are about, game by game, by digest."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """alfworld: the 140 games of valid_seen and the 134 of valid_unseen."""
    alfworld_data: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    """Folder with the games, such as the one that alfworld-download fills."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.panels import show_panels

        show_panels(console, self.name, self.alfworld_data)


@dataclass(frozen=True)
class Localize:
    """Measure localizers on chains whose first wrong step is known: exact hits, clean prefixes, position."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Chains (.jsonl, .json, .parquet) with columns input or problem, steps, and mistake_index or label: BIG-Bench
    Mistake and ProcessBench."""
    localizer: Annotated[str, tyro.conf.arg(metavar="A,B")] = "uniform,first,middle,last,published"
    """Localizers, with commas between them; asked (SRPO) and entropy need a model."""
    model: Model = ""
    number: int | None = None
    """Chains at the most; all when left out."""
    seed: int = 0
    """Seed of what is drawn."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Also write all numbers as JSON."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.localize import localize

        if self.number is not None:
            _at_least_one(number=self.number)
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: must not be negative")
        names = tuple(dict.fromkeys(name.strip() for name in self.localizer.split(",")))
        localize(console, self.file, names, self.model, self.number, self.seed, self.json)


@dataclass(frozen=True)
class Environment:
    """Show versions and hardware."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.overview import show_environment

        show_environment(console)


@dataclass(frozen=True)
class Bases:
    """Warm-start and measure the bases of a paper's profile. Those that are there already are left alone."""

    paper: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PAPER")] = "pass_kt"
    """Key of the paper."""
    profile: Profile = "laptop"
    settings: Settings = ()
    seeds: int | None = None
    """How many seeds, from 0 on; those of the profile when left out."""
    out: OptionalFolder = None
    """Folder for the bases; the package's own when left out."""
    workers: int = field(default_factory=available_cores)
    """Worker processes. The default is the number of cores."""
    threads: int = 1
    """Threads of each worker."""

    def carry_out(self, console: Console) -> None:
        from reproduce.cli.run import build_bases

        _at_least_one(workers=self.workers, threads=self.threads, seeds=1 if self.seeds is None else self.seeds)
        build_bases(console, self.paper, self.profile, self.settings, self.seeds, self.out, self.workers, self.threads)


LogScore = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Threshold = Annotated[
    float | None,
    tyro.conf.arg(metavar="X", help="Smallest score that is a success. When left out, scores must be 0 or 1."),
]
Success = Annotated[
    str | None,
    tyro.conf.arg(metavar="COLUMN[>=X]", help="Score and threshold in one: the column and from which value it counts."),
]
Question = Annotated[
    str,
    tyro.conf.arg(metavar="COLUMN", help="Column that names the question, where a table has it under another name."),
]
PolicyColumn = Annotated[
    str,
    tyro.conf.arg(metavar="COLUMN", help="Column that names the policy; several with commas: model,temperature."),
]
Unscored = Annotated[
    Literal["leave-out", "fail", "refuse"],
    tyro.conf.arg(help="Episodes without a score, such as errors: left out with a note, failures, or refused."),
]
NewFile = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True)
class PassKt:
    """PASS@(k,T) of your own episodes: surface with bands, paired tests, boundary and self-null. Needs no model."""

    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = ()
    """Tables (.csv, .tsv, .jsonl, .json, .parquet) with columns policy, question, T and success, or n and c in its
    place (policy and T may be missing), or logs of lm-evaluation-harness, inspect_ai, verifiers, EvalPlus, human-eval,
    HELM, every_eval_ever, verl and TRL. POLICY=FILE or POLICY@T=FILE says the policy and T of a file that does not."""
    policy: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="POLICY=FILE")] = ()
    """A further file, and its policy; may be given several times."""
    score: LogScore = None
    """The score or column that counts, where a log has several; else the only one, `success` or `reward`."""
    threshold: Threshold = None
    success: Success = None
    question: Question = ""
    policy_column: PolicyColumn = ""
    unscored: Unscored = "leave-out"
    k: Annotated[str, tyro.conf.arg(metavar="A,B")] = ""
    """Numbers of samples, with commas between them; powers of two up to the smallest n when left out."""
    tau: float = 0.5
    """Success rate of cover@tau, and share of G-Pass@k."""
    baseline: Annotated[str | None, tyro.conf.arg(metavar="POLICY")] = None
    """Policy the others are compared with; the first one when left out."""
    figure: NewFile = None
    """Also draw a figure: .png, .svg or .pdf."""
    json: NewFile = None
    """Also write all numbers as JSON."""
    csv: NewFile = None
    """Also write the tables as CSV, with all digits."""
    seed: int = 0
    """Seed of bands and sign flips."""
    resamples: int = 10_000
    """Draws for the bands, and sign patterns."""
    level: float = 0.95
    """Level of intervals and bands."""

    def carry_out(self, console: Console) -> None:
        from reproduce.logs.analysis import Settings
        from reproduce.logs.command import Outputs, show_pass_kt
        from reproduce.logs.plain_tables import columns_of
        from reproduce.logs.scores import rule_of

        ks = tuple(sorted(set(_numbers("--k", self.k)))) if self.k else None
        settings = Settings(ks, self.baseline, self.level, self.resamples, self.seed, self.tau)
        rule = rule_of(self.score, self.threshold, self.success, self.unscored)
        columns = columns_of(self.question, self.policy_column, None)
        files = (*self.files, *self.policy)
        show_pass_kt(console, files, rule, settings, columns, Outputs(self.figure, self.json, self.csv))


@dataclass(frozen=True)
class CompareLogs:
    """Is B better than A on the same questions, and how sure is that? Needs no model."""

    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="A B")] = ()
    """Two logs or tables of the same questions, of one policy each, in any format of `pass-kt`. NAME=FILE names one."""
    score: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
    """A score to compare; several are corrected together, and all that both logs have are when left out."""
    threshold: Threshold = None
    success: Success = None
    question: Question = ""
    policy_column: PolicyColumn = ""
    unscored: Unscored = "leave-out"
    cluster: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """Column of groups of questions that were not drawn independently, such as a passage or a repository."""
    margin: float = 0.05
    """Largest difference that counts as none, for the verdict of equivalence."""
    k: int = 1
    """Compare PASS@k instead of the success rate."""
    json: NewFile = None
    """Also write all numbers as JSON."""
    csv: NewFile = None
    """Also write the table as CSV, with all digits."""
    seed: int = 0
    """Seed of the sign flips."""
    resamples: int = 10_000
    """Sign patterns."""
    level: float = 0.95
    """Level of intervals; equivalence is tested at the same error."""

    def carry_out(self, console: Console) -> None:
        from reproduce.logs.command import Outputs
        from reproduce.logs.comparison import ComparisonSettings
        from reproduce.logs.comparison_command import show_comparison
        from reproduce.logs.plain_tables import columns_of
        from reproduce.logs.scores import rule_of

        settings = ComparisonSettings(self.margin, self.k, self.level, self.resamples, self.seed)
        rule = rule_of(None, self.threshold, self.success, self.unscored)
        columns = columns_of(self.question, self.policy_column, self.cluster)
        show_comparison(console, self.files, self.score, rule, settings, columns, Outputs(None, self.json, self.csv))


COMMANDS: dict[str, Any] = {
    "list": List,
    "plan": Plan,
    "run": Run,
    "report": Report,
    "calibrate": Calibrate,
    "compare": Compare,
    "summary": Summary,
    "audit": Audit,
    "verify": Verify,
    "show": Show,
    "play": Play,
    "panels": Panels,
    "localize": Localize,
    "env": Environment,
    "bases": Bases,
    "pass-kt": PassKt,
    "compare-logs": CompareLogs,
}
WITH_SETTINGS = tuple(name for name, command in COMMANDS.items() if SETTINGS in {item.name for item in fields(command)})


def main(arguments: Sequence[str]) -> int:
    """Carry out one command. Returns the exit code: 0, 1 where compared verdicts differ, 2 for something the user can
    put right, 130 for Ctrl-C."""
    for name, value in QUIET_AND_OFFLINE.items():
        os.environ.setdefault(name, value)
    console = Console()
    try:
        for word in arguments:
            if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in word):
                raise UserError(f"{word[:100]!r}: holds what is no character of UTF-8, or a zero")
        if set(arguments) & {"--help", "-h"} or not arguments:
            _show_help(console, list(arguments))
        else:
            return int(parse(COMMANDS, arguments).carry_out(console) or 0)
    except UserError as error:
        _print_error(str(error))
        return 2
    except KeyboardInterrupt:
        again = "the same command without --redo" if "--redo" in arguments else "the same command"
        _print_error(f"stopped; {again} continues")
        return 130
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough; nothing may be left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if (known := refusal(error)) is not None:
            _print_error(str(known))
            return 2
        _print_error(f"{_in_short(error)}; the full trace is in {_keep_trace()}; please report it with that file")
        return 1
    return 0


def _in_short(error: Exception) -> str:
    """The error in a line, with the step of a plan that it came from."""
    lines = str(error).splitlines() or [""]
    return ": ".join(filter(None, (type(error).__name__, lines[0][:300], *getattr(error, "__notes__", ())[:1])))


def _keep_trace() -> str:
    """Write the trace of the current exception to a file of its own; returns its path, in words where there is none."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="rl-claims-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            traceback.print_exc(file=file)
            return file.name
    except OSError:
        return "no file, since none can be written"


def _with_model(settings: tuple[str, ...], model: str) -> tuple[str, ...]:
    """The settings, and that of `--model`."""
    return (*settings, f"model.name={model}") if model else settings


def _show_help(console: Console, arguments: list[str]) -> None:
    """The parser's help; for a command with `--set`, also every field that can be set."""
    if arguments and not arguments[0].startswith("-"):
        check_names(COMMANDS, arguments[:1])
    with contextlib.suppress(SystemExit):
        parse_with_tyro(COMMANDS, [arguments[0], "--help"] if len(arguments) > 1 else ["--help"])
    if len(arguments) > 1 and arguments[0] in WITH_SETTINGS:
        from reproduce.cli.overview import show_fields

        sys.stdout.flush()
        show_fields(console, arguments[1:])


def _print_error(message: str) -> None:
    Console(stderr=True).print(Text(escaped(" ".join(message.split()))), soft_wrap=True)


def _at_least_one(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text!r}: expected whole numbers with commas between them") from None
