"""ReuseRL: python examples/reuserl.py --model_name_or_path Qwen/Qwen3-0.6B --output_dir reuserl"""

from echorl import questions, solved  # The script beside this one.
from trl import GRPOConfig, ModelConfig, TrlParser

from methods.grpo import GRPOWithGroupMetrics
from methods.reuserl import SkillReuseReward

SIGNS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "=": "conclude"}
HORIZON = 32


def skills(completion: list) -> list[str]:
    """One symbol for each sign of arithmetic, in order; of your own agent, one for each action."""
    return [SIGNS[sign] for sign in completion[0]["content"] if sign in SIGNS][:HORIZON]


if __name__ == "__main__":
    parser = TrlParser((GRPOConfig, ModelConfig))
    arguments, model = parser.parse_args_and_config()
    reuse = SkillReuseReward(tuple(SIGNS.values()), HORIZON, outcome=solved, skills=skills)
    trainer = GRPOWithGroupMetrics(  # `trl.GRPOTrainer` does as well: the method is the reward.
        model.model_name_or_path,
        reward_funcs=reuse,
        callbacks=[reuse],
        args=arguments,
        train_dataset=questions(256),
    )
    trainer.train()
    print("phrases:", [" ".join(phrase) for phrase in reuse.phrases])
