"""The command line for texts, as a person uses it."""

import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml

import vaekit as vk
from conftest import fails, vaekit

WHO, DOES, WHAT = (
    ["a man", "two kids", "the old dog", "ein Mädchen"],
    ["rides", "sees", "paints"],
    ["a horse", "snow", "it"],
)
TEXTS = [" ".join(words) + " ." for words in itertools.product(WHO, DOES, WHAT)] * 3
QUICK = ["--size", "small", "--latent-dim", 3, "--epochs", 8, "--no-report"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def does(*args):
    """The lines that the command prints."""
    return vaekit(*args, check=0).stdout.splitlines()


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "captions.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


@pytest.fixture(scope="module")
def text_run(lines):
    vaekit("fit", lines, "--tokenizer", "char", *QUICK, "--out", lines.parent / "run", check=0)
    return lines.parent / "run"


@pytest.fixture(scope="module")
def table(lines):
    path = lines.parent / "captions.csv"
    rows = [f'"{text}",{i % 2},{i % 5}' for i, text in enumerate(TEXTS)]
    path.write_bytes("\n".join(["caption,label,n", *rows, ",1,2"]).encode("latin-1"))
    return path


@pytest.fixture(scope="module")
def labelled_run(table):
    asked = [
        "--column",
        "caption",
        "--encoding",
        "latin-1",
        "-c",
        "label",
        "--tokenizer",
        "word",
        "--tokenizer.longest",
        5,
    ]
    said = vaekit("fit", table, *asked, *QUICK, "--out", table.parent / "labelled", check=0).stderr
    assert "108 texts, 6 words each, given label" in said
    assert "without a text in 'caption' that were skipped: 1, the first is row 108" in said
    return table.parent / "labelled"


def column(path, name):
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path)[name].to_pylist()
    as_it_is = pyarrow.csv.ConvertOptions(null_values=[])
    return pyarrow.csv.read_csv(path, convert_options=as_it_is)[name].to_pylist()


# ---- what verbs do


def test_samples_are_printed_or_written(text_run, tmp_path):
    expected = vk.load(text_run).sample(7, random_state=3).tolist()
    assert does("sample", text_run, "-n", 7, "--seed", 3) == expected
    for ending in ("txt", "csv", "parquet"):
        assert does("sample", text_run, "-n", 7, "--seed", 3, "-o", tmp_path / f"s.{ending}") == []
    assert (tmp_path / "s.txt").read_text().splitlines() == expected
    assert column(tmp_path / "s.csv", "text") == column(tmp_path / "s.parquet", "text") == expected
    assert does("sample", text_run, "-n", 7) != expected


def test_nothing_but_the_likeliest_token(text_run):
    """No spread, and no token but the first, are the same."""
    cold = does("sample", text_run, "-n", 5, "--temperature", 0)
    assert cold == does("sample", text_run, "-n", 5, "--top-p", 1e-9)
    assert cold != does("sample", text_run, "-n", 5)


def test_reconstructions_are_beside_what_they_are_of(text_run, lines, tmp_path):
    back = vk.load(text_run).reconstruct(TEXTS[:4]).tolist()
    printed = does("reconstruct", text_run, f"{lines}[:4]")
    assert printed[::2] == TEXTS[:4]
    assert printed[1::2] == [f"-> {text}" for text in back]
    for ending in ("txt", "csv"):
        does("reconstruct", text_run, f"{lines}[:4]", "-o", tmp_path / f"r.{ending}")
    assert (tmp_path / "r.txt").read_text().splitlines() == back
    assert column(tmp_path / "r.csv", "text") == TEXTS[:4]
    assert column(tmp_path / "r.csv", "reconstruction") == back


def test_texts_are_written_as_asked(text_run, labelled_run, lines, table):
    """As in Python, whose own tests say what the options do."""
    vae, cvae = vk.load(text_run), vk.load(labelled_run)
    asked = {"repetition_penalty": 1.3, "max_length": 9}
    options = ["--repetition-penalty", 1.3, "--max-length", 9]
    assert does("sample", text_run, "-n", 4, *options) == vae.sample(4, random_state=0, **asked).tolist()
    drawn = vae.reconstruct(TEXTS[:3], temperature=0.5, **asked)
    assert does("reconstruct", text_run, f"{lines}[:3]", "--temperature", 0.5, *options)[1::2] == [
        f"-> {t}" for t in drawn
    ]
    way = vae.interpolate(TEXTS[0], TEXTS[9], 3, **asked)
    assert does("interpolate", text_run, TEXTS[0], TEXTS[9], "--steps", 3, *options)[1:-1] == [f"-> {t}" for t in way]
    other = cvae.reconstruct(TEXTS[:4], {"label": [0, 1, 0, 1]}, to={"label": 1})
    assert does("reconstruct", labelled_run, f"{table}[:4]", "--to", 1)[1::2] == [f"-> {t}" for t in other]


def test_a_way_between_two_texts(text_run, lines):
    ends = [TEXTS[4], "two kids paints snow ."]
    way = does("interpolate", text_run, *ends, "--steps", 5)
    assert len(way) == 7
    assert [way[0], way[-1]] == ends
    assert [way[1], way[-2]] == [f"-> {text}" for text in vk.load(text_run).reconstruct(ends)]
    assert way == does("interpolate", text_run, *ends, "--steps", 5, "--path", "spherical")
    assert way == does("interpolate", text_run, f"{lines}[4]", ends[1], "--steps", 5)


def test_scores_a_word_and_a_character(text_run, lines, tmp_path):
    does("score", text_run, f"{lines}[:20]", "-o", tmp_path / "s.csv")
    found = pyarrow.csv.read_csv(tmp_path / "s.csv").to_pydict()
    assert list(found) == [
        "row",
        "score",
        "words",
        "nats_per_word",
        "characters",
        "bits_per_character",
        "unknown",
        "p_value",
    ]
    score, words = np.array(found["score"]), np.array(found["words"])
    assert words.tolist() == [len(text.split()) + 1 for text in TEXTS[:20]]
    np.testing.assert_allclose(found["nats_per_word"] * words, -score)
    characters = np.array([len(text) + 1 for text in TEXTS[:20]])
    np.testing.assert_allclose(np.array(found["bits_per_character"]) * characters * np.log(2), -score)
    assert all(0 < p <= 1 for p in found["p_value"])
    does("score", text_run, f"{lines}[5:7]", "-o", tmp_path / "few.csv")
    np.testing.assert_allclose(column(tmp_path / "few.csv", "score"), score[5:7], rtol=1e-6)
    np.testing.assert_allclose(vk.load(text_run).score_samples(TEXTS[:20]), score, rtol=1e-9)  # as in Python


def test_evaluate_says_the_perplexity(text_run):
    found = json.loads("\n".join(does("evaluate", text_run, "--json", "--k", 5)))
    rows = vk.load(text_run)
    held_out = [TEXTS[i] for i in vk.training.data.split(len(TEXTS), rows.validation, rows.seed_)[1]]
    words = np.mean([len(text.split()) + 1 for text in held_out])
    assert found["rows"] == len(held_out)
    assert np.log(found["perplexity"]) == pytest.approx(found["iw_nll"] / words)
    assert "perplexity" in "\n".join(does("evaluate", text_run, "--k", 5))


def test_encode_and_info(text_run, lines, tmp_path):
    does("encode", text_run, f"{lines}[:6]", "-o", tmp_path / "z.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), vk.load(text_run).transform(TEXTS[:6]))
    said = "\n".join(does("info", text_run))
    assert "characters" in said
    assert f"{vk.load(text_run).kind_.vocabulary} tokens" in said


def test_a_run_reads_other_sources_as_its_own(labelled_run, table, lines, tmp_path):
    data = yaml.safe_load((labelled_run / "config.yaml").read_text())["data"]
    assert (data["column"], data["encoding"]) == ("caption", "latin-1")
    does("score", labelled_run, table, "-o", tmp_path / "s.csv")
    estimator = vk.load(labelled_run)
    y = {"label": np.arange(len(TEXTS)) % 2}
    np.testing.assert_allclose(column(tmp_path / "s.csv", "score"), estimator.score_samples(TEXTS, y, k=20), rtol=1e-9)
    other = tmp_path / "other.csv"
    other.write_text("what,label\na man rides it .,1\n")
    assert does("reconstruct", labelled_run, f"{other}:what")[0] == "a man rides it ."


def test_a_text_that_is_cut_is_counted_as_far_as_it_is_read(labelled_run, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("a man rides it . a man rides it . and so on\na man\n")
    does("score", labelled_run, path, "-o", tmp_path / "s.csv")
    assert column(tmp_path / "s.csv", "words") == [5, 3]
    assert column(tmp_path / "s.csv", "unknown") == [3, 0]  # and, so, on


def test_samples_of_a_label(labelled_run):
    assert does("sample", labelled_run, "-n", 3, "-c", 1) == vk.load(labelled_run).sample(3, {"label": 1}).tolist()


def test_gaps_are_filled_and_the_rest_stays(labelled_run, tmp_path):
    path = tmp_path / "gaps.txt"
    path.write_text("a man ___ snow .\n___ man rides it .\ntwo kids sees  it\n")
    done = vaekit("impute", labelled_run, path, check=0)
    filled = done.stdout.splitlines()
    assert filled[2] == "two kids sees  it"
    assert done.stderr == f"note: {path} has no 'label', so it counts as unknown\n"
    for text, pattern in zip(filled, [r"a man \S+ snow \.", r"\S+ man rides it \.", ".*"], strict=True):
        assert re.fullmatch(pattern, text)
    assert "___" not in "".join(filled)
    assert filled == vk.load(labelled_run).impute(path.read_text().splitlines(), random_state=0).tolist()
    assert len(does("impute", labelled_run, path, "--draws", 3)) == 9
    does("impute", labelled_run, path, "--draws", 2, "-o", tmp_path / "filled.csv")
    assert len(column(tmp_path / "filled-1.csv", "text")) == len(column(tmp_path / "filled-2.csv", "text")) == 3
    path.write_text("a man [MASK] snow\n")
    done = vaekit("impute", labelled_run, path, check=0)
    assert done.stdout == "a man [MASK] snow\n"
    assert "write ___" in done.stderr.splitlines()[-1]


def test_who_reads_may_stop(text_run):
    code = f"{sys.executable} -m vaekit sample {text_run} -n 3 | true"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
    assert done.stderr == ""


def test_a_language_model_has_no_latent(lines, tmp_path):
    folder = tmp_path / "lm"
    does("fit", lines, *QUICK, "--latent-dim", 0, "--epochs", 1, "--out", folder)
    assert len(does("sample", folder, "-n", 2)) == 2
    for args in (["encode", folder, lines], ["reconstruct", folder, lines], ["interpolate", folder, "a", "b"]):
        assert "has no latent" in fails(*args)


# ---- what goes wrong


def test_mistakes_before_training(lines, table, tmp_path):
    assert "without a label 'label'" in fails("fit", lines, "-c", "label")
    assert "did you mean 'caption'" in fails("fit", table, "--column", "captoin", "--encoding", "latin-1")
    assert "holds whole numbers, not texts" in fails("fit", table, "--column", "n", "--encoding", "latin-1")
    assert "line 29 (the first is 1): byte 0xe4 is not UTF-8" in fails("fit", table, "--column", "caption")
    assert "leave out --column a" in fails("fit", "digits", "--column", "a")
    assert "--column" in fails("fit", table, "--kind", "series", "--column", "caption")
    assert "tokenizer is for texts, and these are pictures" in fails(
        "fit", "digits", "--tokenizer", "word", "--out", tmp_path / "no"
    )
    assert "did you mean 'word'" in fails("fit", lines, "--tokenizer", "wort", "--out", tmp_path / "no")
    assert "'longest'" in fails("fit", lines, "--tokenizer.longst", 5, "--out", tmp_path / "no")
    same = tmp_path / "same.txt"
    same.write_text("aaa\n" * 50)
    assert "one token 'aaa'" in fails("fit", same, "--tokenizer", "word", "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_mistakes_at_use(text_run, lines, table, tmp_path):
    assert "an empty text" in fails("interpolate", text_run, "a man", " ")
    assert "ends in .txt, .csv, .parquet" in fails("sample", text_run, "-o", tmp_path / "s.png")
    assert "pictures and texts have no columns" in fails("score", text_run, lines, "--contributions")
    assert "FILE.csv:COLUMN" in fails("score", text_run, "digits")
    assert "where is for tables" in fails("sample", text_run, "--where", "a=1")
    assert "top_p is 2" in fails("sample", text_run, "--top-p", 2)
    good = tmp_path / "good.csv"
    good.write_text("a,b\n1,2\n2,3\n")
    assert "FILE.csv:COLUMN" in fails("score", text_run, good)


def test_a_model_of_tables_takes_no_texts(lines, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{i * i % 11},{i * i % 7}\n" for i in range(30)))
    does("fit", path, *QUICK, "--out", tmp_path / "run")
    assert "holds texts: give a table with the columns a, b" in fails("score", tmp_path / "run", lines)
