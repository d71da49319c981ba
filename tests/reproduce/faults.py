"""Faults on purpose: kills, full disks, changed bits, foreign models, two plans at once.

A kind of fault is a function that tries it as often as it is told to and notes the outcome of each try in a `Tally`.
Good outcomes are one line with exit code 2, and the same result as without the fault; all others are counted apart. The
ordinary tests (`test_faults.py`) try a few of each kind, `nox -s faults` at least a thousand.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

CHECKOUT = Path(__file__).parents[2]
PLAN = ("pass_kt", "--profile", "smoke")
RUNS, RECORDS = Path("runs/smoke/pass_kt"), Path("results/smoke/pass_kt/records")
REFUSED, SAME, SILENT, TRACE, HANG, FOREIGN = (
    "one line",
    "same result",
    "silent change",
    "traceback",
    "hang",
    "foreign code",
)
BAD = (SILENT, TRACE, HANG, FOREIGN)
HANG_SECONDS = 2.0
"""Processor time of a try in this process beyond that of the same command without a fault."""


@dataclass
class Tally:
    """Outcomes of the tries of one kind of fault."""

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    worst: list[str] = field(default_factory=list)
    """Descriptions of the bad ones."""

    def note(self, outcome: str, what: str) -> None:
        """Count an outcome. what: the try, in words."""
        self.outcomes[outcome] += 1
        if outcome in BAD:
            self.worst.append(f"{self.kind}, {outcome}: {what}")

    @property
    def row(self) -> str:
        """A row of the table."""
        counts = (self.outcomes[name] for name in (REFUSED, SAME, *BAD))
        return f"| {self.kind} | {self.outcomes.total()} | {' | '.join(map(str, counts))} |"


# ---- commands in this process and in others


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    err: str
    seconds: float
    """Of the processor."""

    def outcome(self, usual: float) -> str:
        """One line, the same result (to be checked where there is one), a traceback or a hang."""
        if self.code == 1 or "Traceback" in self.err or (self.code == 2 and self.err.count("\n") != 1):
            return TRACE
        return HANG if self.seconds > usual + HANG_SECONDS else REFUSED if self.code == 2 else SAME


def call(folder: Path, *arguments: str) -> Done:
    """A command in this process."""
    from reproduce.cli.command_line import main

    out, err, begun, here = io.StringIO(), io.StringIO(), time.process_time(), Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    except BaseException as error:
        code, err = 1, io.StringIO(f"Traceback: {error!r}")
    finally:
        os.chdir(here)
    return Done(code, err.getvalue(), time.process_time() - begun)


def start(
    folder: Path, *arguments: str, file_size: int = 0, prefix: tuple[str, ...] = (), **variables: str
) -> subprocess.Popen[str]:
    """A command in a process group of its own. file_size: the most bytes that a file may have."""

    def limit() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if file_size:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "reproduce", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=limit,
    )


def end(process: subprocess.Popen[str]) -> Done:
    """Wait for a command."""
    _, err = process.communicate(timeout=1800)
    return Done(process.returncode, err, 0.0)


def result(folder: Path) -> dict[str, str]:
    """sha256 of weights, episodes and records; what holds times is left out."""
    files = [*folder.glob("runs/**/model.safetensors"), *folder.glob("runs/**/episodes.parquet")]
    files += [path for path in folder.glob("results/**/records/*") if path.name != "runs.jsonl"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


# ---- kinds: runs


def killed(whole: Path, times: int, draw: random.Random) -> Iterator[Tally]:
    """Runs that are killed at random moments, with all their processes, end with the same files."""
    tally, expected = Tally("kill at a random moment"), result(whole)
    longest = 25.0
    with tempfile.TemporaryDirectory() as scratch:
        folder, left = Path(scratch), times
        while left:
            begun, process = time.monotonic(), start(folder, "run", *PLAN, "--workers", "2")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(1, longest))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                left -= 1
                tally.note(SAME, "killed")
                continue
            longest = max(2.0, time.monotonic() - begun)
            done = end(process)
            if done.code or result(folder) != expected:
                tally.note(TRACE if done.code else SILENT, f"{times - left} kills: {done.err[-500:]}")
            shutil.rmtree(folder / "runs", ignore_errors=True)
            shutil.rmtree(folder / "results", ignore_errors=True)
        done = end(start(folder, "run", *PLAN, "--workers", "2"))
        if done.code or result(folder) != expected:
            tally.note(TRACE if done.code else SILENT, f"{times} kills: {done.err[-500:]}")
    yield tally


def full_disk(whole: Path, times: int, draw: random.Random) -> Iterator[Tally]:
    """A file that cannot be written to its end is one line, and the same command continues once it can."""
    tally = Tally("file-size limit while writing")
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(times):
            limit = int(1000 * 2 ** draw.uniform(0, 10))
            shutil.rmtree(Path(scratch) / "runs", ignore_errors=True)
            done = end(start(Path(scratch), "run", *PLAN, file_size=limit))
            if done.code == 0:
                tally.note(SAME if result(Path(scratch)) == result(whole) else SILENT, f"limit of {limit} bytes")
                shutil.rmtree(Path(scratch) / "results")
                continue
            outcome = done.outcome(0.0)
            if outcome == REFUSED and number == times - 1:
                done = end(start(Path(scratch), "run", *PLAN))
                outcome = REFUSED if done.code == 0 and result(Path(scratch)) == result(whole) else SILENT
            tally.note(outcome, f"limit of {limit} bytes: {done.err[-300:]}")
    yield tally


FILLED = (
    'mount -t tmpfs -o size=200m none "$0" || exit 9; cd "$0"; (sleep "$1"; head -c 300m /dev/zero > full) '
    '>/dev/null 2>&1 & shift; exec "$@"'
)
"""A shell that lets a small disk of its own fill up after a while, under the command that it carries out."""


def small_disk(whole: Path, times: int, draw: random.Random) -> Iterator[Tally]:
    """A disk that fills up while runs are written is one line; where it fills too late, the files are the same."""
    tally = Tally("disk that fills up")
    namespace = ("unshare", "--mount", "--propagation", "private")
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        return
    for _ in range(times):
        with tempfile.TemporaryDirectory() as scratch:
            after = f"{draw.uniform(2, 40):.1f}"
            prefix = (*namespace, "sh", "-c", FILLED, scratch, after)
            done = end(start(Path(scratch), "run", *PLAN, prefix=prefix))
        tally.note(done.outcome(0.0), f"full after {after} s: {done.err[-300:]}")
    yield tally


def other_conditions(whole: Path, times: int, draw: random.Random) -> Iterator[Tally]:
    """Two plans at once, other numbers of workers, other hash seeds, no network: the same files."""
    alone = ("unshare", "--net", "--map-root-user")
    alone = alone if subprocess.run([*alone, "true"], capture_output=True).returncode == 0 else ()
    at_once, conditions = Tally("two plans at once"), Tally("other workers and hash seeds, no network")
    for _ in range(times):
        with tempfile.TemporaryDirectory() as scratch:
            both = [start(Path(scratch), "run", *PLAN, "--workers", "1") for _ in range(2)]
            for done in map(end, both):
                at_once.note(done.outcome(0.0), done.err[-300:])
            done = end(start(Path(scratch), "run", *PLAN))
            at_once.note(SAME if done.code == 0 and result(Path(scratch)) == result(whole) else SILENT, done.err)
        with tempfile.TemporaryDirectory() as scratch:
            workers, hashes = str(draw.randint(1, 4)), str(draw.randrange(2**32))
            process = start(Path(scratch), "run", *PLAN, "--workers", workers, prefix=alone, PYTHONHASHSEED=hashes)
            done = end(process)
            same = done.code == 0 and result(Path(scratch)) == result(whole)
            conditions.note(SAME if same else SILENT, f"{workers} workers, hash seed {hashes}: {done.err[-300:]}")
    yield from (at_once, conditions)


# ---- kinds: files that have changed


def damaged(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """A file with one bit flipped, cut short, emptied, or with a stretch of zeros."""
    way, place = draw.choice(("flip", "flip", "cut", "empty", "zeros")), draw.randrange(max(1, len(content)))
    if way == "flip" and content:
        return f"bit {place}", content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
    if way == "zeros" and any(content[place : place + 64]):
        return f"zeros at {place}", content[:place] + bytes(len(content[place : place + 64])) + content[place + 64 :]
    return ("cut", content[:place]) if way == "cut" else ("emptied", b"")


@contextlib.contextmanager
def change(path: Path, draw: random.Random) -> Iterator[str]:
    """Damage a file for a while; says how."""
    content = path.read_bytes()
    how, other = damaged(content, draw)
    path.write_bytes(other if other != content else b"\0")
    try:
        yield f"{path.name}, {how}"
    finally:
        path.write_bytes(content)


def mutated(whole: Path, times: int, draw: random.Random) -> Iterator[Tally]:
    """A change of any file that a number rests on is refused, or changes nothing."""
    from matplotlib.figure import Figure

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(whole, Path(scratch) / "whole"))
        shutil.copytree(CHECKOUT / "reproduce/bases/retrieval/seed-0", folder / "bases/retrieval/seed-0")
        assert call(folder, "report", *PLAN).code == 0
        draw_whole, Figure.savefig = Figure.savefig, lambda *arguments, **options: None
        report = [folder / RECORDS.parent / name for name in ("report.md", "verdicts.json")]
        kinds = {
            "run folder": (("run", *PLAN), [path for path in (folder / RUNS).rglob("*") if path.is_file()]),
            "records and report": (("verify", "results"), [*(folder / RECORDS).iterdir(), *report]),
            "base of the package": (("verify", "bases"), list((folder / "bases/retrieval/seed-0").iterdir())),
        }
        try:
            for kind, (command, files) in kinds.items():
                tally, expected, usual = Tally(f"changed file: {kind}"), result(folder), call(folder, *command).seconds
                files = sorted(path for path in files if path.stat().st_size)
                for number in range(times):
                    with change(files[number % len(files)], draw) as how:
                        done = call(folder, *command)
                    outcome = done.outcome(usual)
                    tally.note(
                        SILENT if outcome == SAME and result(folder) != expected else outcome, f"{how} {done.err}"
                    )
                yield tally
        finally:
            Figure.savefig = draw_whole


# ---- kinds: foreign files and words

WORDS = st.text(min_size=0, max_size=40)
VALUES = st.one_of(
    st.integers(-(10**20), 10**20), st.floats(), st.none(), st.booleans(), WORDS, st.lists(st.integers(), max_size=3)
)


def fuzzed(kind: str, strategy: st.SearchStrategy, times: int, draw: random.Random, attempt: Callable) -> Tally:
    """attempt(example) -> (outcome, words), for `times` examples."""
    tally = Tally(kind)

    @seed(draw.randrange(2**32))
    @settings(
        max_examples=times,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(example: object) -> None:
        tally.note(*attempt(example))

    run()
    return tally


def foreign_models(whole: Path, times: int, draw: random.Random) -> Iterator[Tally]:
    """Configurations with values that no model has, and model files that have changed; with code that notes its run."""
    from tests.reproduce.test_models import save_model

    with tempfile.TemporaryDirectory() as scratch:
        folder = save_model(Path(scratch) / "model")
        marker = Path(scratch) / "ran"
        (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
        config = json.loads((folder / "config.json").read_text())
        command = ("plan", *PLAN, "--model", str(folder))
        usual = call(Path(scratch), *command).seconds

        def outcome(what: str) -> tuple[str, str]:
            sys.stdin = io.StringIO("y\n" * 100)
            from reproduce.cost import architecture

            for known in (architecture.describe, architecture._shape):
                known.cache_clear()
            done = call(Path(scratch), *command)
            return FOREIGN if marker.exists() else done.outcome(usual), f"{what} {done.err[-200:]}"

        def with_values(changes: dict[str, object]) -> tuple[str, str]:
            own = {"auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
            (folder / "config.json").write_text(json.dumps(config | own | changes))
            return outcome(repr(changes))

        fields = st.dictionaries(st.sampled_from(sorted(config)), VALUES, min_size=1, max_size=3)
        yield fuzzed("config.json of a model", fields, times, draw, with_values)
        (folder / "config.json").write_text(json.dumps(config))
        tally, files = Tally("changed file: model"), sorted(path for path in folder.iterdir() if path.suffix != ".py")
        for number in range(times):
            with change(files[number % len(files)], draw) as how:
                tally.note(*outcome(how))
        yield tally


PIECES = (
    "{{ messages }}",
    "{{ 9 ** 99999999 }}",
    "{{ 1 / 0 }}",
    "{% for m in messages %}",
    "{% endfor %}",
    "{% if x %}",
)
PIECES += ("{{ m.content }}", "{{ 'a' * 999999999999 }}", "{% macro f() %}{{ f() }}{% endmacro %}", "{{ f() }}")
PIECES += ("{% for i in range(99999) %}", "{{ ''.__class__ }}", "{{ raise_exception('x') }}", "{% set x = 1 %}")


def foreign_words(whole: Path, times: int, draw: random.Random) -> Iterator[Tally]:
    """Chat templates, values of `--set`, and logs of episodes."""
    from reproduce.core.files import UserError
    from reproduce.rollouts.chat_template import read_template
    from tests.reproduce.general_models import LLAMA, QWEN, general_tokenizer

    whole_ones = st.lists(st.sampled_from((QWEN, LLAMA, *PIECES[:3])), max_size=2)
    pieces = st.lists(st.sampled_from(PIECES), max_size=6) | whole_ones
    tokenizer = general_tokenizer()

    def template(pieces: list[str]) -> tuple[str, str]:
        tokenizer.chat_template, begun = "".join(pieces), time.process_time()
        try:
            read_template(tokenizer, "Be brief.")
        except UserError as error:
            return (REFUSED if "\n" not in str(error) else TRACE), str(error)
        except Exception as error:
            return TRACE, f"{pieces} {error!r}"
        return (SAME if time.process_time() - begun < HANG_SECONDS else HANG), repr(pieces)

    yield fuzzed("chat template", pieces, max(5, times // 4), draw, template)
    with tempfile.TemporaryDirectory() as scratch:
        folder, usual = Path(scratch), call(Path(scratch), "plan", *PLAN).seconds

        def setting(words: tuple[str, object]) -> tuple[str, str]:
            done = call(folder, "plan", *PLAN, "--set", f"{words[0]}={words[1]}")
            return done.outcome(usual), f"{words} {done.err[-200:]}"

        names = "seeds panels.test_per_category evaluation.caps training.learning_rate model.name x".split()
        names = st.one_of(st.sampled_from(names), WORDS)
        yield fuzzed("value of --set", st.tuples(names, st.one_of(VALUES, WORDS)), times, draw, setting)
        rows = [{"policy": "a", "question": f"q{place % 5}", "T": 3, "success": place % 2} for place in range(40)]
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        table = ("question,success\n" + "".join(f"q{n % 5},{n % 2}\n" for n in range(40))).encode()

        def log(example: tuple[str, int]) -> tuple[str, str]:
            ending, number = example
            own = random.Random(number)
            how, content = damaged(lines if ending != "csv" else table, own)
            (folder / f"log.{ending}").write_bytes(content if number % 3 else own.randbytes(number % 997))
            quick = ("--resamples", "100")
            done = call(folder, "pass-kt", f"log.{ending}", *quick)
            return done.outcome(usual), f"{ending} {number} {how} {done.err[-200:]}"

        endings = st.sampled_from(["csv", "jsonl", "json", "parquet", "eval"])
        yield fuzzed("log of episodes", st.tuples(endings, st.integers(0, 10**6)), times, draw, log)


# ---- the table

KINDS = {
    mutated: 0.34,
    foreign_words: 0.46,
    foreign_models: 0.2,
    killed: 0.1,
    full_disk: 0.02,
    small_disk: 0.02,
    other_conditions: 0.004,
}
"""Share of the tries that each kind takes for each of its rows; those that train are few."""
HEADINGS = ("Fault", "tries", REFUSED, SAME, *BAD)


MARK = "<!-- table -->\n"


def faults(times: int, number: int, whole: Path, kinds: list[str]) -> Iterator[Tally]:
    """Try these kinds, about `times` times if they are all. number: seeds the choices."""
    draw = random.Random(number)
    for kind, share in KINDS.items():
        if kind.__name__ in kinds:
            for tally in kind(whole, max(1, round(share * times / 2)), draw):
                print(tally.row, *tally.worst[:5], sep="\n", flush=True)
                yield tally


def with_row(text: str, row: str) -> str:
    """A page with a row of its table replaced, or added, and the last one summed up anew."""
    before, marked, after = text.partition(MARK)
    lines = [line for line in after.splitlines() if line.startswith("| ")][2:-1]
    rows = {line.split(" | ")[0]: line for line in (*lines, row)}
    counts = [list(map(int, line.strip("| ").split(" | ")[1:])) for line in rows.values()]
    total = f"| all | {' | '.join(str(sum(column)) for column in zip(*counts, strict=True))} |"
    heads = (f"| {' | '.join(HEADINGS)} |", f"| --- |{' ---: |' * (len(HEADINGS) - 1)}")
    return before + marked + "\n".join((*heads, *rows.values(), total)) + "\n"


def main() -> int:
    """Try faults and write the table, a row as soon as it is known. Returns 1 where one had a bad outcome."""
    names = [kind.__name__ for kind in KINDS]
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--write", type=Path, help="a Markdown file, whose table is brought up to date")
    options = parser.parse_args()
    worst = []
    with tempfile.TemporaryDirectory() as scratch:
        done = end(start(Path(scratch), "run", *PLAN))
        assert done.code == 0, done.err
        for tally in faults(options.tries, options.seed, Path(scratch), options.only):
            worst += tally.worst
            if options.write:
                text = options.write.read_text(encoding="utf-8")
                options.write.write_text(with_row(text, tally.row), encoding="utf-8")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"The process that read damaged and foreign files took at most {memory:.1f} GiB.", *worst, sep="\n")
    return int(bool(worst) or memory > 2)


if __name__ == "__main__":
    sys.exit(main())
