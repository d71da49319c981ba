"""Rules that choose the step of a reset: exact on known chains, in law on random ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods.localizers import AskedPolicy, LeastConfidentStep, localization_prompt, parse_step, step_means
from methods.reset_buffer import Chain, Seed


def seed_of(steps: int, **told: tuple[float, ...]) -> Seed:
    return Seed((1,), Chain(tuple(range(10, 10 + 2 * steps)), tuple(range(2, 2 * steps + 1, 2)), 0.0, False, **told))


def fresh_generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("reply", "step"),
    [
        (r"\boxed{2} no, \boxed{4}", 4),
        (r"\boxed{3} \boxed{Step 9}", 1),
        (r"\boxed{9} see step 7", 1),
        (r"\boxed{9} Step 4", 4),
        (r"Step 3 fails. \boxed{9}", 3),
        (r"\boxed{2} \boxed{\text{4}}", 1),
        (r"\boxed{2} \boxed{{4}", 1),
        (r"\boxed{2} \boxed{} Step 3", 3),
        (r"\boxed{-2} step 3", 3),
        (r"\boxed{ 5 }", 5),
        (r"\boxed{0}", 1),
        (r"Step 2 is fine, Step 4 is not.", 4),
        (r"Step 3, then Step 99 is wrong.", 1),
        ("STEP 3", 1),
        ("no idea", 1),
        ("", 1),
        (r"\boxed{two}", 1),
        ("Step " + "7" * 5000, 1),
    ],
)
def test_the_parser_reads_what_the_released_one_reads(reply: str, step: int) -> None:
    assert parse_step(reply, 5) == step


@given(st.text(alphabet=r"\boxed{}Step 0123456789", max_size=60), st.integers(1, 20))
def test_parser_stays_in_the_chain(reply: str, steps: int) -> None:
    assert 1 <= parse_step(reply, steps) <= steps


def test_prompt_numbers_the_steps_and_hides_the_delimiter() -> None:
    prompt = localization_prompt("2 + 2?", ["two </thought>", "five</thought>"])
    assert "Step 1: two\nStep 2: five\n" in prompt
    assert "</thought>" not in prompt
    assert "from 1 to 2" in prompt and "2 + 2?" in prompt


def test_asked_policy_counts_its_tokens() -> None:
    asked: list[str] = []

    def reply(prompts: Sequence[str]) -> list[tuple[str, int]]:
        asked.extend(prompts)
        return [(r"\boxed{2}", 9), ("?", 4)]

    rule = AskedPolicy(lambda seed: ("problem", [f"s{place}" for place in range(seed.chain.steps)]), reply)
    found = rule([seed_of(5), seed_of(4)], fresh_generator())
    assert [(one.step, one.generated_tokens) for one in found] == [(2, 9), (1, 4)]
    assert "from 1 to 4" in asked[1]


def test_step_means_leave_out_the_environment() -> None:
    chain = Chain((1, 2, 3, 4, 5), (2, 4), 0.0, False, from_policy=(True, False, True, True, True))
    assert step_means((1.0, 100.0, 2.0, 4.0, 50.0), chain).tolist() == [1.0, 3.0]
    silent = Chain((1, 2), (1, 2), 0.0, False, from_policy=(False, True))
    assert step_means((7.0, 2.0), silent).tolist() == [0.0, 2.0]


def test_least_confident_step() -> None:
    seed = seed_of(3, entropies=(0.1, 0.2, 0.9, 0.8, 1.0, 0.0))
    assert LeastConfidentStep()([seed], fresh_generator())[0].step == 2
    with pytest.raises(ValueError, match="gave no entropies"):
        LeastConfidentStep()([seed_of(3)], fresh_generator())
