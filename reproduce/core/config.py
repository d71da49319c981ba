"""Everything that determines a run, as plain data. Importing this loads no model code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from reproduce.core.files import digest

Count = Annotated[int, Field(ge=1)]
Seeds = Annotated[int, Field(ge=1, le=1_000)]
PanelSize = Annotated[int, Field(ge=1, le=100_000)]
"""Far beyond what a machine gets through; a mistyped number must not fill its memory first."""
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
# Bounds are held where values come in from outside: `--set`, `config.json` and the files of paper scale.


@dataclass(frozen=True)
class PolicyConfig:
    """Size of the tiny policy."""

    layers: Count = 2
    """Decoder layers."""
    width: Count = 128
    """Hidden size."""
    heads: Count = 4
    """Attention heads, each with its own keys and values."""
    feed_forward: Count = 256
    """Width inside the gated feed-forward block."""
    window: Count = 3
    """Tokens the first layer sees, its own included. A narrow first layer learns within a hundred steps to look a
    value up by the word before it; two full layers were still wrong in a third of look-ups after 900."""
    longest: Annotated[int, Field(ge=64)] = 256
    """Positions."""
    initial_deviation: Rate = 0.06
    """Standard deviation of the initial weights."""


WORDS: Final = "words"
CHAT: Final = "chat"
TEXT: Final = "text"
AUTO: Final = "auto"
"""Formats in which a policy reads an episode; see `ModelConfig.format`."""


@dataclass(frozen=True)
class ModelConfig:
    """The model that is trained and evaluated. Without a name it is the policy of the profile, warm-started here."""

    name: str = ""
    """Folder of a checkpoint, or its name in the Hugging Face cache. Empty: the policy of the profile, made here."""
    format: Literal["auto", "words", "chat", "text"] = AUTO
    """How it reads an episode: `chat` (its chat template), `text` (plain lines), `words` (the word-level tokenizer of
    policies made here), or `auto`, what its tokenizer offers."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the weights: float32 or bfloat16."""
    lora_rank: Annotated[int, Field(ge=0)] = 0
    """Rank of LoRA adapters on every linear layer; 0 trains all weights."""
    lora_alpha: Count = 64
    """Scale of the adapters, times the rank."""


TRANSFORMERS: Final = "transformers"
VLLM: Final = "vllm"
COLOCATE: Final = "colocate"
SERVER: Final = "server"
"""Engines that sample; see `HardwareConfig`."""


@dataclass(frozen=True)
class HardwareConfig:
    """Devices and engines: they change speed and last bits, never what is computed."""

    device: Literal["cpu", "cuda"] = "cpu"
    """cpu or cuda, in training and evaluation."""
    engine: Literal["transformers", "vllm"] = TRANSFORMERS
    """What samples in evaluation: `transformers`, in process, or `vllm`, from the saved checkpoint."""
    training_engine: Literal["transformers", "colocate", "server"] = TRANSFORMERS
    """What samples in training: `transformers`, in process, or vLLM through TRL: `colocate` (same GPUs) or `server`
    (vLLM's own server on other GPUs, see `vllm_server`)."""
    vllm_server: str = "http://127.0.0.1:8000"
    """Address of the server, for `server`. TRL 1.16 needs one that takes new weights and tells log-probabilities after
    temperature and top_p: `VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config '{"backend": "nccl"}'
    --logprobs-mode processed_logprobs --max-logprobs -1 --enable-scale-out`; `trl vllm-serve`, which starts the same,
    is deprecated."""
    vllm_memory: Share = 0.3
    """Share of a GPU's memory that vLLM takes in training; in evaluation, where it is alone, it takes 0.9."""
    agreement: Rate = 0.05
    """Largest mean difference, in nats a token, between the log-probabilities of vLLM and of the trained model on the
    same tokens; beyond it the run stops, for the weights are not the same."""
    processes: Count = 1
    """Training processes, started by accelerate. Where a batch takes one optimiser step their number changes roundings
    only; where it takes several (`updates` of a method), rows are drawn for each step within every process, so that
    another number trains on a batch in another order."""
    accelerate_config: str = ""
    """File of settings for `accelerate launch` (FSDP, DeepSpeed); the package's own go by name: `fsdp`, `deepspeed`."""
    rows_at_once: Annotated[int, Field(ge=0)] = 0
    """Episodes in one forward and backward pass of a process; gradients are accumulated. 0: the whole batch."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""
    report_to: str = "none"
    """Where TRL logs beside metrics.jsonl: none, tensorboard, trackio or wandb."""


@dataclass(frozen=True)
class WarmStartConfig:
    """Warm start of a base policy on look-up drills and demonstrations."""

    steps: Count = 800
    """Optimiser steps."""
    batch_size: Count = 128
    """Sequences a step, half of them look-up drills."""
    drill_steps: int = 150
    """Steps at the start that show drills only: to look a value up is the slow skill, and drills are short."""
    learning_rate: Rate = 3e-3
    """Peak AdamW learning rate; linear warm-up over 5 % of the steps, then linear decay to a tenth."""
    reliability_alpha: float = 0.5
    """First parameter of the Beta from which reliabilities are taken; below 1 for a U shape."""
    reliability_beta: float = 0.25
    """Second parameter of that Beta."""
    early_answer: float = 0.05
    """Demonstrators' chance to answer too early, after each search but the last."""
    useless_search: float = 0.05
    """Demonstrators' chance of a useless search before each search."""
    depth_weights: tuple[float, ...] = (0.45, 0.45, 0.1)
    """Exposure of bridge questions with 1, 2, 3, ... hops."""
    phrasing_exponent: float = 0.5
    """Zipf exponent of the exposure of a relation's first, second, third phrasing."""
    longest_cap: int = 5
    """The demonstrations' cap on searches is uniform over 0 to this number."""


@dataclass(frozen=True)
class SamplingConfig:
    """Sampling of actions. Nothing truncates the distribution: the boundary is about its support."""

    temperature: NotNegative = 0.7
    """Softmax temperature (paper: 0.7), in training and evaluation alike; 0 takes the likeliest token."""
    longest_action: Count = 16
    """Tokens after which an action is cut."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the probability that the likeliest tokens kept must hold; 1 keeps all."""


@dataclass(frozen=True)
class TrainingConfig:
    """GRPO. Values marked (paper) are those of PASS@(k,T); the others are unstated there and ours."""

    epochs: Count = 10
    """Passes over the training questions (paper: 10)."""
    group_size: Annotated[int, Field(ge=2)] = 8
    """Episodes for each question, G (paper: 8)."""
    questions_per_step: Count = 25
    """Questions in one batch; one optimiser step a batch. Must divide the number of training questions."""
    rounds: Annotated[int, Field(ge=0)] = 5
    """Cap T on tool rounds in training (paper: 5)."""
    learning_rate: Rate = 3e-4
    """Constant AdamW learning rate, without weight decay; chosen on validation questions by `reproduce.cli.tuning`."""
    kl_coefficient: NotNegative = 0.0
    """Weight of the KL penalty to the base, beta. 0: no reference model."""
    save_every: Count = 20
    """Batches between checkpoints from which an interrupted run continues."""
    arguments: tuple[str, ...] = ()
    """Further arguments of TRL's `GRPOConfig`, such as weight_decay=0.01. One to which an arm gives another value
    itself, as loss_type in the arms of resets, is refused; only of those that the profile `paper` brings along do arms
    with a loss of their own leave some aside."""


INDEPENDENT, PREFIX_FORK = "independent", "prefix-fork"
"""The two estimators of PASS@(k,T): fresh episodes for every T, or one set of episodes run alike until their caps."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Episodes of an evaluation, and its grid over k and T."""

    samples: Count = 128
    """Episodes n for each policy, question and T; at least twice the largest k, so that the variance is known. The base
    answers bridge questions at the largest T twice as often: its second sample is the self-null."""
    largest_k: Count = 64
    """Largest k of PASS@(k,T); the grid holds the powers of two up to it (paper: 1 to 64)."""
    caps: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2, 3, 5)
    """Caps T on tool rounds (paper: 0, 1, 2, 3, 5). Static questions are asked at T = 0 only."""
    ood_samples: Count = 128
    """Episodes for each out-of-distribution question, at the largest T only."""
    questions_at_once: Count = 8
    """Questions sampled in one batch; changes speed and memory, not the episodes."""

    @property
    def ks(self) -> tuple[int, ...]:
        """1, 2, 4, ..., largest_k."""
        return tuple(2**power for power in range(self.largest_k.bit_length()))

    @property
    def at_once(self) -> int:
        """Questions sampled in one batch."""
        return self.questions_at_once

    def caps_within(self, rounds: int) -> tuple[int, ...]:
        """Caps at which a task is evaluated. rounds: the run's horizon, which the grid does not use."""
        return self.caps


@dataclass(frozen=True)
class PanelConfig:
    """Questions of each panel of `retrieval`."""

    train_per_category: PanelSize = 100
    """Training questions of each of the two trained categories (paper: 200 in all, from both)."""
    test_per_category: PanelSize = 200
    """Test questions of each of the three categories (paper: 100)."""
    ood_per_depth: Annotated[int, Field(ge=0, le=100_000)] = 25
    """Out-of-distribution bridge questions of each depth, three and four hops."""
    train_seed: int = 0
    """Seed of the training questions."""
    test_seed: int = 2
    """Seed of the test and out-of-distribution questions: a set that nothing was decided on (reports/LOG.md)."""
    source: str = ""
    """File or folder of the official data set; empty: questions generated from the seeds."""

    def smallest(self) -> PanelConfig:
        """One question of each kind."""
        return replace(self, train_per_category=1, test_per_category=1, ood_per_depth=1)


@dataclass(frozen=True)
class PanelSizes:
    """Tasks of each panel of an environment other than `retrieval`: in all, or of each category where tasks are drawn
    by category (household, reasoning)."""

    train: PanelSize = 64
    """Training tasks."""
    test: PanelSize = 64
    """Test tasks, in distribution."""
    ood: PanelSize = 48
    """Out-of-distribution test tasks."""
    train_seed: int = 0
    """Seed of the training tasks."""
    test_seed: int = 0
    """Seed of the test and out-of-distribution tasks."""
    categories: tuple[str, ...] = ()
    """Categories of train and test, where the environment offers a choice; its default ones when empty."""
    ood_categories: tuple[str, ...] = ()
    """Categories of ood, likewise."""
    source: str = ""
    """File or folder of the official data set; empty: tasks generated from the seeds."""

    def smallest(self) -> PanelSizes:
        """One task of each kind."""
        return replace(self, train=1, test=1, ood=1)


@dataclass(frozen=True)
class DemonstrationConfig:
    """Warm start of a base policy on demonstrations; who demonstrates is a constant of the testbed."""

    steps: Count = 400
    """Optimiser steps."""
    batch_size: Count = 64
    """Demonstrations a step."""
    demonstrations: Count = 4000
    """Different demonstrations, drawn once a seed and shown again in each epoch in another order."""
    learning_rate: Rate = 3e-3
    """Peak AdamW learning rate; linear warm-up over 5 % of the steps, then linear decay to a tenth."""


@dataclass(frozen=True)
class HorizonEvaluation:
    """Evaluation of a method's arms: every task at its horizon, each with several episodes."""

    samples: Count = 8
    """Episodes for each policy and test task."""
    ood_samples: Count = 8
    """Episodes for each policy and out-of-distribution task."""
    tasks_at_once: Count = 32
    """Tasks sampled in one batch; changes speed and memory, not the episodes."""
    temperature: float = -1.0
    """Softmax temperature of the evaluation, 0 for the likeliest token; negative: that of training."""

    @property
    def at_once(self) -> int:
        """Tasks sampled in one batch."""
        return self.tasks_at_once

    def caps_within(self, rounds: int) -> tuple[int, ...]:
        """Caps at which a task is evaluated: the run's horizon, `rounds`, alone."""
        return (rounds,)


@dataclass(frozen=True)
class BedConfig:
    """Testbed: tasks, base, budget of training, sampling and evaluation that the arms of one environment share."""

    panels: PanelSizes = field(default_factory=PanelSizes)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    warm_start: DemonstrationConfig = field(default_factory=DemonstrationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    evaluation: HorizonEvaluation = field(default_factory=HorizonEvaluation)


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run's result."""

    paper: str
    profile: str
    environment: str
    arm: str
    seed: int
    panels: PanelConfig | PanelSizes
    policy: PolicyConfig
    warm_start: WarmStartConfig | DemonstrationConfig
    training: TrainingConfig | None
    """None for an arm that is only evaluated."""
    sampling: SamplingConfig
    evaluation: EvaluationConfig | HorizonEvaluation
    rounds: int = 5
    """Horizon T of an evaluation that has no caps of its own."""
    method: Any = None
    """Settings of the arm's method, a frozen dataclass of its paper; None for GRPO alone."""
    model: ModelConfig = field(default_factory=ModelConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)

    @property
    def updates(self) -> int:
        """Optimiser steps on each batch."""
        return int(getattr(self.method, "updates", 1))

    @property
    def name(self) -> str:
        """Path of the run's folder below the folder of its profile and paper."""
        return f"{self.environment}/{self.arm}/seed-{self.seed}"

    @property
    def streams(self) -> str:
        """Names the streams of uniform numbers that the run's episodes are drawn from.

        Arms of one environment and seed share them, so that arms that act alike have like episodes and differences
        between arms are those of their policies. In PASS@(k,T) each arm has its own: there one sample of the base is
        compared with another.
        """
        if isinstance(self.evaluation, HorizonEvaluation):
            return f"{self.paper} {self.environment}/seed-{self.seed}"
        return f"{self.paper} {self.name}"

    @property
    def digest(self) -> str:
        """sha256 of what determines the result; see `result_digest`."""
        return result_digest(asdict(self))


NEUTRAL = frozenset({"hardware", "save_every", "questions_at_once", "tasks_at_once"})
"""Fields of a run that change speed, memory and last bits only: devices and engines, the distance between checkpoints,
how much is sampled in one batch."""


def result_digest(content: Mapping[str, Any]) -> str:
    """sha256 of what determines the result of a run, `content` being its `asdict`, as `config.json` holds it.

    The same for two runs that differ in fields of NEUTRAL only, and for a `config.json` of any age: whatever the digest
    covered when it was written, the file holds every field.
    """
    kept = {
        name: {inner: part[inner] for inner in part if inner not in NEUTRAL} if isinstance(part, Mapping) else part
        for name, part in content.items()
        if name not in NEUTRAL
    }
    return digest(kept)


def weight_precision(config: RunConfig) -> str:
    """In which precision weights are held while training.

    With `model.precision` bfloat16 the model computes in it. Trained weights stay in float32 all the same, as usual in
    mixed precision: of eight bits a step of 1e-6 would leave nothing. Weights that only carry LoRA adapters do not.
    """
    return config.model.precision if config.model.lora_rank else "float32"
