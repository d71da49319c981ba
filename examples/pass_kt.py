"""PASS@(k,T) of two checkpoints in a guessing game of T hints: python examples/pass_kt.py BASE TRAINED"""

import re
import sys

import numpy as np
from transformers import pipeline

from theory.pass_kt import PassSurface

DEPTHS, TRIES, NUMBERS = (0, 1, 2, 4), 8, range(1, 17)


def play(model: str) -> list[tuple[str, int, int, bool]]:
    """Rows (policy, number, hints T, success by then) of TRIES games for each number; put your own agent here."""
    say = pipeline("text-generation", model=model, batch_size=64)
    goals = [number for number in NUMBERS for _ in range(TRIES)]
    talks = [[{"role": "user", "content": "Guess my number from 1 to 16. Say one number."}] for _ in goals]
    needed = [max(DEPTHS) + 1] * len(goals)
    for hints in range(max(DEPTHS) + 1):
        said = say(talks, max_new_tokens=8, do_sample=True, temperature=1.0, return_full_text=False)
        for game, (goal, talk) in enumerate(zip(goals, talks, strict=True)):
            text = said[game][0]["generated_text"]
            guess = int((re.findall(r"\d{1,3}", text) or [0])[0])
            if guess == goal:
                needed[game] = min(needed[game], hints)
            hint = "Higher." if guess < goal else "Lower."
            talk += [{"role": "assistant", "content": text}, {"role": "user", "content": hint}]
    return [(model, goal, depth, needed[game] <= depth) for game, goal in enumerate(goals) for depth in DEPTHS]


if __name__ == "__main__":
    base, trained = sys.argv[1:]
    policy, number, depth, success = zip(*(row for model in (base, trained) for row in play(model)), strict=True)
    surface = PassSurface.from_episodes(policy, number, depth, success)
    bands = surface.difference_bands(trained, base, np.random.default_rng(0))
    for place, hints in enumerate(DEPTHS):
        for column, k in enumerate(surface.ks):
            low, mean, high = (band[place, column] for band in (bands.low, bands.estimate, bands.high))
            print(f"T = {hints}, k = {k}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
