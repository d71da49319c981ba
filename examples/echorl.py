"""GRPO with the echo of EchoRL: python examples/echorl.py --model_name_or_path Qwen/Qwen3-0.6B --output_dir echorl"""

import random

from datasets import Dataset
from trl import GRPOConfig, ModelConfig, TrlParser

from methods.echorl import EchoConfig, EchoTrainer


def questions(count: int) -> Dataset:
    """Sums; put your own questions and reward here."""
    pairs = [(random.randint(10, 99), random.randint(10, 99)) for _ in range(count)]
    ask = "What is {} + {}? Think line by line and end with the number."
    return Dataset.from_list(
        [{"prompt": [{"role": "user", "content": ask.format(a, b)}], "answer": str(a + b)} for a, b in pairs]
    )


def solved(completions: list, answer: list[str], **columns: object) -> list[float]:
    """1 for a success, from where on an episode may be echoed, else 0."""
    return [
        float(said[0]["content"].rstrip(" .").endswith(number))
        for said, number in zip(completions, answer, strict=True)
    ]


if __name__ == "__main__":
    parser = TrlParser((GRPOConfig, ModelConfig))
    parser.set_defaults_with_config(entropy_coef=0.001, learning_rate=1e-6)  # As the paper; the script says the rest.
    arguments, model = parser.parse_args_and_config()
    trainer = EchoTrainer(
        model.model_name_or_path,
        reward_funcs=solved,
        args=arguments,
        train_dataset=questions(256),
        echo=EchoConfig(weight=0.001),
    )
    trainer.train()
