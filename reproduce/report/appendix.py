"""What every report ends with: manifest, cost, configuration, deviations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reproduce.core.config import PolicyConfig
from reproduce.core.settings import field_table
from reproduce.cost.model import policy_parameters
from reproduce.environments.beds import load_bed
from reproduce.environments.sequences import MARKERS
from reproduce.report.text import NOTHING, count, number, plain, table

Manifest = Mapping[str, Any]
MEBIBYTE = 2**20
DIGEST_SHOWN = 12


def parameters(policy: Mapping[str, Any], environment: str = "retrieval") -> int:
    """Parameters of the policy with this configuration."""
    return policy_parameters(PolicyConfig(**policy), len(MARKERS) + len(load_bed(environment).words()))


def model_name(experiment: Mapping[str, Any]) -> str:
    """Name of the model of an experiment; empty for the policy of a profile."""
    return str(experiment.get("model", {}).get("name", ""))


def policy_text(experiment: Mapping[str, Any], policy: Mapping[str, Any], environment: str = "retrieval") -> str:
    """What the policy is, for a sentence. policy: its size, where the experiment names no model."""
    if name := model_name(experiment):
        rank = experiment["model"]["lora_rank"]
        return f"the model {name}{f' with LoRA adapters of rank {rank}' if rank else ''}"
    size = parameters(policy, environment)
    shown = f"{size / 1e6:.2f} M-parameter" if size >= 1e5 else f"{count(size)}-parameter"
    return f"a {shown} policy, trained from scratch"


def tasks_text(panels: Mapping[str, Any], generated: str) -> str:
    """Where the tasks come from. generated: the words for those that are generated."""
    return f"tasks of {panels['source']}" if panels.get("source") else generated


def seeds_text(experiment: Mapping[str, Any], seeds: int) -> str:
    """How many seeds, and what each starts from."""
    return f"{seeds} seeds, {'all from the same weights' if model_name(experiment) else 'each with its own base'}"


def scale_deviation(experiment: Mapping[str, Any], backbone: str) -> str:
    """The deviation that stands in the place of a paper's first one, that of size, where a model is named."""
    return (
        f"The model is {model_name(experiment)}, the paper's is {backbone}; the configuration table says which tasks "
        "are generated (no source) and which come from a data set."
    )


def appendix(records: Any, configuration: Any, deviations: Sequence[str]) -> str:
    """Manifest, cost, configuration and deviations as Markdown."""
    return "\n\n".join(
        [
            "## Manifest",
            table(("Field", "Value"), _manifest_rows(records)),
            _run_table(records.runs),
            "## Cost",
            _cost_table(records.runs),
            "## Configuration",
            table(("Setting", "Value", "Meaning"), _configuration_rows(records.experiment, configuration)),
            "## Deviations from the paper",
            "\n".join(f"{place}. {plain(deviation)}" for place, deviation in enumerate(deviations, start=1)),
        ]
    )


def _distinct(values: Iterable[Any]) -> str:
    """The value that all runs share, or all values, in the order of the runs."""
    return "; ".join(dict.fromkeys(str(value) for value in values if value is not None)) or NOTHING


def _manifest_rows(records: Any) -> list[tuple[str, str]]:
    runs = records.runs
    sources = [run.get("source", {}) for run in runs]
    machines = [run.get("machine", {}) for run in runs]
    dirty = {source.get("dirty") for source in sources}
    changed = "source differed from the commit" if True in dirty else "source as committed"
    rows = [
        ("profile", _distinct(run.get("profile") for run in runs)),
        ("commit", _distinct(source.get("commit", source.get("version")) for source in sources)),
        ("working tree", changed if dirty - {None} else "installed package"),
        ("seeds", ", ".join(str(seed) for seed in sorted({run["seed"] for run in runs}))),
        ("runs", f"{len(runs)}, all {_distinct(run.get('exit_state') for run in runs)}"),
        ("first start, last end", f"{_ends(runs, 'started', min)} to {_ends(runs, 'ended', max)}"),
        ("determinism", _distinct(run.get("determinism") for run in runs)),
    ]
    for panel in dict.fromkeys(name for run in runs for name in run.get("panels", {})):
        rows.append((f"sha256 of panel {panel}", _distinct(run.get("panels", {}).get(panel) for run in runs)))
    labels = {"system": "system", "processor": "processor", "cores": "cores", "threads": "threads used"}
    rows += [(label, _distinct(machine.get(field) for machine in machines)) for field, label in labels.items()]
    memory = (f"{machine['memory_bytes'] / 2**30:.1f} GiB" for machine in machines if "memory_bytes" in machine)
    accelerators = (", ".join(machine.get("accelerators", [])) or "none" for machine in machines)
    rows += [("memory", _distinct(memory)), ("accelerators", _distinct(accelerators))]
    names = dict.fromkeys(name for run in runs for name in run.get("packages", {}))
    versions = (f"{name} {_distinct(run.get('packages', {}).get(name) for run in runs)}" for name in names)
    return [*rows, ("packages", ", ".join(versions) or NOTHING)]


def _ends(runs: Sequence[Manifest], field: str, choose: Any) -> str:
    times = [run[field] for run in runs if run.get(field)]
    return choose(times).replace("T", " ").replace("+00:00", " UTC") if times else NOTHING


def _run_table(runs: Sequence[Manifest]) -> str:
    headings = ("Run", "Digest", "Policy", "Attempts", "Train, s", "Evaluate, s", "Peak, MiB")
    rows = [
        (
            str(run["run"]),
            str(run.get("config_digest", NOTHING))[:DIGEST_SHOWN],
            str(run.get("policy", NOTHING)),
            count(run.get("attempt")),
            number(run.get("seconds", {}).get("train")),
            number(run.get("seconds", {}).get("evaluate")),
            count(_peak([run])),
        )
        for run in runs
    ]
    note = plain(f"Digest: the first {DIGEST_SHOWN} characters of the sha256 of the run's whole configuration.")
    return f"{note}\n\n{table(headings, rows, numbers=(3, 4, 5, 6))}"


def _cost_table(runs: Sequence[Manifest]) -> str:
    """Tokens, seconds and memory: one column an arm and one for all."""
    arms = {arm: [run for run in runs if run["arm"] == arm] for arm in dict.fromkeys(run["arm"] for run in runs)}
    groups = arms | {"all": list(runs)}
    sums = {
        "training: tokens sampled": ("training_tokens", "sampled"),
        "training: tokens trained": ("training_tokens", "trained"),
        "training: seconds": ("seconds", "train"),
        "evaluation: episodes": ("evaluation", "episodes"),
        "evaluation: tokens sampled": ("evaluation", "sampled_tokens"),
        "evaluation: forward tokens": ("evaluation", "forward_tokens"),
        "evaluation: seconds": ("seconds", "evaluate"),
    }
    rows = [("runs", *(str(len(group)) for group in groups.values()))]
    for label, (part, field) in sums.items():
        rows.append((label, *(count(_total(group, part, field)) for group in groups.values())))
    rows.append(("largest peak memory, MiB", *(count(_peak(group)) for group in groups.values())))
    note = plain(
        "Sums over the runs of an arm. Tokens of episodes whose advantage is zero are sampled but not trained; to "
        "obtain a base counts as its training."
    )
    return f"{note}\n\n{table(('Measure', *groups), rows, numbers=range(1, len(groups) + 1))}"


def _total(runs: Sequence[Manifest], part: str, field: str) -> float | None:
    values = [run[part][field] for run in runs if field in run.get(part, {})]
    return sum(values) if values else None


def _peak(runs: Sequence[Manifest]) -> float | None:
    return max((run["peak_memory_bytes"] / MEBIBYTE for run in runs if "peak_memory_bytes" in run), default=None)


def _configuration_rows(experiment: Mapping[str, Any], configuration: Any) -> list[tuple[str, str, str]]:
    """Every setting but the profile, which the manifest names, with what its field's docstring says."""
    meanings = {name: text for name, _, text in field_table(configuration)}

    def rows(part: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str, str]]:
        for name, value in part.items():
            if isinstance(value, Mapping):
                yield from rows(value, f"{prefix}{name}.")
            else:
                shown = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
                yield prefix + name, shown, meanings.get(prefix + name, NOTHING)

    return [row for row in rows(experiment, "") if row[0] != "profile"]
