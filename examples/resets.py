"""RRPO and SRPO: python examples/resets.py --rule asked --model_name_or_path Qwen/Qwen3-0.6B --output_dir srpo"""

from dataclasses import dataclass

from echorl import questions, solved  # The script beside this one.
from trl import GRPOConfig, ModelConfig, TrlParser

from methods.localizers import AskedPolicy, LeastConfidentStep
from methods.resets import GRPOWithResets, ResetRollouts, uniform_step

RULES = {"random": uniform_step, "asked": AskedPolicy(), "least_confident": LeastConfidentStep()}


@dataclass
class Choice:
    """Rule for the step of a reset: random is RRPO, asked is SRPO."""

    rule: str = "asked"


if __name__ == "__main__":
    parser = TrlParser((GRPOConfig, ModelConfig, Choice))
    # The paper's loss: means over each chain, no ratio; four chains from the prompt and four from a reset.
    parser.set_defaults_with_config(loss_type="grpo", num_generations=8)
    arguments, model, choice = parser.parse_args_and_config()
    trainer = GRPOWithResets(
        model.model_name_or_path,
        reward_funcs=solved,
        args=arguments,
        train_dataset=questions(256),
        rollout_func=ResetRollouts(RULES[choice.rule]),
    )
    trainer.train()
