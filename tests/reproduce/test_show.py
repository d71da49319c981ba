"""Transcripts of episodes."""

import io
import shutil

import pyarrow as pa
import pytest
from rich.console import Console

from reproduce.cli.show import EpisodeFilter, render_episode, split_transcript
from reproduce.core.files import UserError

RUN = "runs/smoke/pass_kt/retrieval/grpo/seed-0"
TRANSCRIPT = (
    "<begin> who is the founder of karl vance ? <turn> search karl vance founder <end> "
    "result karl vance founder ruth cross closed <turn> founder ruth cross answer ruth cross <end>"
)
EPISODE = {
    "panel": "test",
    "category": "bridge",
    "question": "test-bridge-1",
    "hops": 1,
    "T": 1,
    "estimator": "independent",
    "sample": 7,
    "success": True,
    "failure": "",
    "rounds": 1,
    "forced": True,
    "transcript": TRANSCRIPT,
}


def printed(text) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(text, soft_wrap=True)
    return console.file.getvalue()


def test_transcript_is_split_by_writer():
    assert list(split_transcript(TRANSCRIPT, 16)) == [
        (False, "who is the founder of karl vance ?"),
        (True, "search karl vance founder"),
        (False, "result karl vance founder ruth cross closed"),
        (True, "founder ruth cross answer ruth cross"),
    ]


def test_action_that_was_cut_has_no_end_marker():
    # Three words are the most here; the second action even contains the marker that the environment writes.
    turns = list(split_transcript("<begin> q <turn> a b c invalid <turn> a <turn> c closed <turn> x <end>", 3))
    assert turns == [
        (False, "q"),
        (True, "a b c"),
        (False, "invalid"),
        (True, "a <turn> c"),
        (False, "closed"),
        (True, "x"),
    ]


@pytest.mark.parametrize(
    "transcript", ["", "<begin>", "<turn>", "<begin> q <turn>", "<end> <end>", "<turn> <turn> <end>"]
)
def test_any_text_can_be_split(transcript):
    for longest in (None, 1, 16):
        joined = " ".join(turn.text for turn in split_transcript(transcript, longest))
        assert set(joined.split()) <= set(transcript.split())


def test_episode_reads_as_a_dialogue():
    lines = printed(render_episode(EPISODE, 16)).splitlines()
    assert lines[0].startswith("success  test-bridge-1  bridge, hops 1, T 1, independent, sample 7")
    assert [line.split()[0] for line in lines[1:5]] == ["question", "policy", "environment", "policy"]
    assert lines[4].endswith("founder ruth cross answer ruth cross")


def test_markup_in_a_file_is_text():
    hostile = "<begin> [bold]q[/bold] [link=http://x]y[/link] <turn> [red] answer [/nonsense] <end>"
    shown = printed(render_episode(EPISODE | {"transcript": hostile, "question": "[/red]"}, 16))
    for part in ("[bold]q[/bold]", "[link=http://x]y[/link]", "[red] answer [/nonsense]", "[/red]"):
        assert part in shown


def test_filter_names_the_nearest_value():
    episodes = pa.Table.from_pylist([EPISODE, EPISODE | {"success": False, "T": 5}])
    assert EpisodeFilter(success=False).select(episodes)["T"].to_pylist() == [5]
    with pytest.raises(UserError, match=r"no episode has category 'brige'; did you mean 'bridge'\?"):
        EpisodeFilter(category="brige").select(episodes)
    with pytest.raises(UserError, match="no episode has T 3; known: 1, 5"):
        EpisodeFilter(T=3).select(episodes)
    with pytest.raises(UserError, match="no episode fits all of: T 5, success True"):
        EpisodeFilter(T=5, success=True).select(episodes)


def test_show_prints_as_many_as_asked(reproduce_in_process, smoke_folder):
    command = ("show", RUN, "--category", "bridge", "--T", "2", "--estimator", "independent", "--number", "2")
    shown = reproduce_in_process(smoke_folder, *command)
    assert shown.code == 0 and shown.out.count("bridge, hops 2, T 2, independent") == 2
    assert "2 of 32 episodes that fit" in shown.out
    assert reproduce_in_process(smoke_folder, *command).out == shown.out
    assert reproduce_in_process(smoke_folder, *command, "--seed", "1").out != shown.out


def test_show_of_one_question_looks_in_every_panel(reproduce_in_process, smoke_folder):
    import pyarrow.parquet as pq

    questions = pq.read_table(smoke_folder / RUN / "episodes.parquet", columns=["question", "panel"]).to_pylist()
    question = next(row["question"] for row in questions if row["panel"] == "ood")
    shown = reproduce_in_process(smoke_folder, "show", RUN, "--question", question, "--number", "1")
    assert shown.code == 0 and question in shown.out
    mistyped = reproduce_in_process(smoke_folder, "show", RUN, "--question", question + "x")
    assert mistyped.code == 2 and f"did you mean '{question}'?" in mistyped.err


def test_show_names_a_damaged_file_and_a_wrong_folder(reproduce_in_process, smoke_folder, tmp_path):
    shutil.copytree(smoke_folder / RUN, tmp_path / "run")
    file = tmp_path / "run/episodes.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    refused = reproduce_in_process(tmp_path, "show", "run")
    assert refused.code == 2 and refused.err.count("\n") == 1
    assert "run/episodes.parquet, row 1: damaged" in refused.err and "--redo" in refused.err
    other = reproduce_in_process(tmp_path, "show", ".")
    assert other.code == 2 and "not the folder of one run" in other.err


def test_control_characters_are_escaped():
    hostile = EPISODE | {"transcript": "<begin> \x1b[31mq\x07 <turn> answer \u202ex <end>", "question": "a\x1b]0;x"}
    shown = printed(render_episode(hostile, 16))
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    for part in ("\\x1b[31mq\\x07", "\\u202ex", "a\\x1b]0;x"):
        assert part in shown


def test_a_general_models_transcript_keeps_its_lines():
    text = "<|im_start|>user\nWho?\n  a\x1b[31m <|im_end|>\n<|im_start|>assistant\nAda<|im_end|>"
    shown = printed(render_episode(EPISODE | {"transcript": text, "question": "a\nb"}, 16))
    for line in ("Who?", "  a\\x1b[31m <|im_end|>", "Ada<|im_end|>"):
        assert f"\n{line}\n" in shown
    assert "a\\nb" in shown


def test_missing_column_and_negative_seed_are_one_line(reproduce_in_process, tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([EPISODE]).drop_columns(["failure"]), tmp_path / "episodes.parquet")
    refused = reproduce_in_process(tmp_path, "show", ".")
    assert refused.code == 2 and refused.err.count("\n") == 1
    assert "episodes.parquet: damaged (no column failure)" in refused.err
    negative = reproduce_in_process(tmp_path, "show", ".", "--seed", "-1")
    assert negative.code == 2 and "--seed -1: must not be negative" in negative.err
