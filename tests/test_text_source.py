"""Texts as sources: what is written to a file is what is read; what is wrong is told in one line, with its place."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vaekit
from conftest import real
from vaekit.errors import Note, UserError
from vaekit.sources import read

each_example = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# Any text but the characters that end a line, NUL, and what a byte-order mark is made of.
texts = st.text(st.characters(exclude_characters="\n\r\0\ufeff", exclude_categories=["Cs"]), min_size=1).filter(
    str.strip
)
LINES = ["a man rides a horse", "two kids play soccer", "ein Hund läuft"]


def mistake(source, **asked):
    """The one line a bad request gives."""
    with pytest.raises(UserError) as caught:
        read(source, **asked)
    line = str(caught.value)
    assert "\n" not in line
    return line


def write(path, content, encoding="utf-8"):
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


# ---- lines of a file


@each_example
@given(st.lists(texts, min_size=1), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans(), st.booleans())
def test_lines_come_back_as_they_are(tmp_path, lines, newline, ends, mark, packed):
    content = newline.join(lines) + newline * ends
    content = content.encode("utf-8-sig" if mark else "utf-8")
    path = tmp_path / ("t.gz" if packed else "t.txt")
    data = read(write(path, gzip.compress(content, 1) if packed else content))
    assert data.x.tolist() == lines
    assert (data.kind, data.name, data.x.dtype, data.notes) == ("text", "t", object, [])


@each_example
@given(st.lists(texts, min_size=1), st.sampled_from(["utf-16", "utf-8", "utf-32-le", "gb18030"]))
def test_any_encoding(tmp_path, lines, encoding):
    assert read(write(tmp_path / "t.txt", "\n".join(lines), encoding), encoding=encoding).x.tolist() == lines


def test_only_ends_of_lines_end_a_line(tmp_path):
    line = "a\u2028b\u2029c\x0bd\x0ce\x1cf\x85g"
    assert read(write(tmp_path / "t.txt", f"{line}\nnext")).x.tolist() == [line, "next"]


def test_blank_lines_are_skipped_and_counted(tmp_path):
    data = read(write(tmp_path / "t.txt", "one\n\n  two \n \t\n\u3000\nthree\n"))
    assert data.x.tolist() == ["one", "  two ", "three"]
    assert data.notes == [f"{tmp_path}/t.txt: blank lines that were skipped: 3, the first is line 2"]


def test_rows_of_texts(tmp_path):
    path = write(tmp_path / "t.txt", "\n".join(LINES))
    assert read(f"{path}[1]").x.tolist() == LINES[1:2]
    assert read(f"{path}[1:]").x.tolist() == LINES[1:]
    data = read(path)
    assert data[np.array([2, 0])].x.tolist() == [LINES[2], LINES[0]]
    assert data[1].x.tolist() == [LINES[1]]
    assert "so [3] does not exist" in mistake(f"{path}[3]")


def test_a_text_is_described_in_words(tmp_path):
    assert read(write(tmp_path / "t.txt", "a b c\nd e f\n")).describe() == "2 texts, 3 words each"
    assert read(write(tmp_path / "t.txt", "a\nb\n")).describe() == "2 texts, 1 character each"
    labelled = read(write(tmp_path / "t.csv", "s,label\na b,x\nc d,y\n"), column="s", conditions=["label"])
    assert labelled.describe() == "2 texts, 2 words each, given label"


def test_a_long_line_is_one_text(tmp_path):
    line = "word " * 400_000
    assert read(write(tmp_path / "t.txt", line + "\nnext")).x.tolist() == [line, "next"]
    assert read(write(tmp_path / "t.csv", f"a,b\n{line},1\n"), column="a").x.tolist() == [line]


def test_penn_treebank():
    """As published: 3370 sentences of 70,390 words, of a vocabulary of 10,000."""
    data = read(real("text/ptb/ptb.valid.txt.gz"))
    assert data.describe() == "3370 texts, 21 words each"
    assert sum(len(text.split()) for text in data.x) == 70_390
    assert "<unk>" in data.x[2]


# ---- what is wrong with a file


def test_invalid_bytes_are_named_by_line(tmp_path):
    path = write(tmp_path / "t.txt", b"good\r\n\r\nna\xefve\r\n")
    assert mistake(path) == (
        f"{path}, line 3 (the first is 1): byte 0xef is not UTF-8; name its encoding, as with --encoding latin-1"
    )
    assert read(path, encoding="latin-1").x.tolist() == ["good", "naïve"]
    assert "line 2" in mistake(write(tmp_path / "t.csv", b"a,b\n\xe9,1\n"), column="a")
    assert read(tmp_path / "t.csv", column="a", encoding="latin-1").x.tolist() == ["é"]
    wide = write(tmp_path / "wide.txt", "hello\n", "utf-16")
    assert "--encoding utf-16" in mistake(wide)
    assert read(wide, encoding="utf-16").x.tolist() == ["hello"]


def test_no_text_at_all(tmp_path):
    assert "is empty" in mistake(write(tmp_path / "t.txt", b""))
    assert "only blank lines (3)" in mistake(write(tmp_path / "t.txt", "\n \n\n"))
    assert "line 2 (the first is 1), has a NUL byte" in mistake(write(tmp_path / "t.txt", b"a\nb\0"))
    assert "--encoding utf-16" in mistake(write(tmp_path / "t.txt", "hello", "utf-16-le"))
    assert "hardly a file of text" in mistake(write(tmp_path / "t.txt", bytes(range(256)) * 4))
    assert "gzipped" in mistake(write(tmp_path / "t.txt.gz", gzip.compress(b"hello" * 99)[:-9]))
    assert "did you mean 't.txt'" in mistake(tmp_path / "tt.txt")


def test_what_does_not_apply_is_told(tmp_path):
    path, table = write(tmp_path / "t.txt", "a\nb\n"), write(tmp_path / "t.csv", "a,b\nx,1\n")
    assert "without a label 'label'" in mistake(path, conditions=["label"])
    assert "--column" in mistake(path, conditions=["label"])
    assert "so it counts as unknown" in read(path, conditions=["label"], optional_conditions=True).notes[0]
    assert "leave out --column a" in mistake(path, column="a")
    assert "leave out --column a" in mistake("digits", column="a")
    assert "leave out --encoding" in mistake("digits", encoding="latin-1")
    assert "latin-1 or utf-16" in mistake(path, encoding="latin-one")
    assert "latin-1 or utf-16" in mistake(path, encoding="hex")
    assert "leave out --resize" in mistake(path, resize=(8, 8))
    assert "holds texts: give a table with the columns a" in mistake(path, columns=["a"])
    # A run reads other sources as it read its own, as far as they go.
    assert len(read(path, column="a", encoding="utf-8", optional_conditions=True)) == 2
    assert len(read("digits[:3]", column="a", encoding="latin-1", optional_conditions=True)) == 3
    assert read(table).kind == "table"


# ---- the column of a table


@each_example
@given(st.lists(st.tuples(texts, st.sampled_from(["x", "y"])), min_size=1), st.sampled_from(["csv", "parquet"]))
def test_a_column_comes_back_as_it_is(tmp_path, rows, form):
    rows = [*rows, ("a column of numbers alone is none of texts", "x")]
    table = pa.table({"label": [label for _, label in rows], "caption": [text for text, _ in rows]})
    path = tmp_path / f"t.{form}"
    (pa.csv.write_csv if form == "csv" else pa.parquet.write_table)(table, path)
    data = read(path, column="caption", conditions=["label"])
    assert data.x.tolist() == [text for text, _ in rows]
    assert data.conditions["label"].tolist() == [label for _, label in rows]
    assert (data.kind, data.columns) == ("text", None)
    assert read(f"{path}:caption").x.tolist() == data.x.tolist()


def test_texts_that_look_like_something_else_are_texts(tmp_path):
    path = write(tmp_path / "t.csv", "s,n\nNA,1\n17,2\n2024-01-01,3\ntrue,4\n-nan,5\n")
    data = read(path, column="s", conditions=["n"])
    assert data.x.tolist() == ["NA", "17", "2024-01-01", "true", "-nan"]
    assert data.conditions["n"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_without_a_text_go_with_their_conditions(tmp_path, form):
    path = tmp_path / f"t.{form}"
    table = pa.table({"s": ["a", None, " ", "b", ""], "label": [1, 2, 3, 4, 5]})
    (pa.csv.write_csv if form == "csv" else pa.parquet.write_table)(table, path)
    data = read(path, column="s", conditions=["label"])
    assert (data.x.tolist(), data.conditions["label"].tolist()) == (["a", "b"], [1, 4])
    note = f"{path}: rows without a text in 's' that were skipped: 3, the first is row 1 (counted from 0)"
    assert data.notes == [note]


def test_columns_that_will_not_do(tmp_path):
    path = write(tmp_path / "t.csv", "caption,label\na b,1\nc d,2\n")
    assert mistake(path, column="captoin") == (
        f"{path} has no column 'captoin'; did you mean 'caption'? (known: caption, label)"
    )
    assert "'label' holds whole numbers, not texts; columns of text: caption" in mistake(path, column="label")
    assert "cannot be a condition too" in mistake(path, column="caption", conditions=["caption"])
    pa.parquet.write_table(pa.table({"caption": ["a"], "label": [1], "words": [["a"]]}), tmp_path / "t.parquet")
    assert "holds whole numbers, not texts; columns of text: caption" in mistake(tmp_path / "t.parquet", column="label")
    assert "not texts; columns of text: caption" in mistake(tmp_path / "t.parquet", column="words")
    assert "no text in any row" in mistake(write(tmp_path / "e.csv", "a,b\n,1\n,2\n"), column="a")


def test_a_category_of_texts_is_of_texts(tmp_path):
    pa.parquet.write_table(pa.table({"s": pa.array(["a", "b", "a"]).dictionary_encode()}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", column="s").x.tolist() == ["a", "b", "a"]


def test_a_table_of_texts_says_how_they_are_learned(tmp_path):
    rows = [f"caption number {i} of many,{'abc'[i % 3]}, x{i},{i % 7} of 7 and so on" for i in range(50)]
    path = write(tmp_path / "t.csv", "\n".join(["caption,label,name,again", *rows]))
    with pytest.warns(
        Note, match=r"hold texts were left out: caption \(50 values in 50 rows, such as .*--column caption"
    ):
        vaekit.VAE(epochs=1, latent_dim=2, size="small", sampler="prior").fit_data(read(path))
    with pytest.raises(
        UserError, match=r"no column is left to learn from; columns that hold texts .* in Python a list of texts"
    ):
        vaekit.VAE().fit(pd.DataFrame({"caption": [row.split(",")[0] for row in rows]}))
    assert read(path, column="caption").notes == []


# ---- JSON lines


@each_example
@given(st.lists(st.tuples(texts, st.sampled_from(["x", "y", None])), min_size=1))
def test_objects_on_lines_are_rows(tmp_path, rows):
    lines = [json.dumps({"caption": text, "label": label} if label else {"caption": text}) for text, label in rows]
    path = write(tmp_path / "t.jsonl", "\n".join([*lines, json.dumps({"caption": "a b", "label": "x"})]))
    data = read(path, column="caption", conditions=["label"])
    assert data.x.tolist() == [*(text for text, _ in rows), "a b"]
    assert data.conditions["label"].tolist() == [*(label for _, label in rows), "x"]
    assert (data.kind, data.name) == ("text", "t")
    assert read(f"{path}:caption[0]").x.tolist() == data.x.tolist()[:1]


def test_json_lines_that_hold_more_or_less_than_a_table(tmp_path):
    path = write(
        tmp_path / "t.jsonl.gz", gzip.compress(b'{"a": "x y", "b": [1, 2], "n": 1}\n{"a": "z w", "c": {"d": 1}}\n')
    )
    data = read(path)
    assert data.x.columns == ["a", "n"]
    assert "because they hold lists, objects or nothing: b, c" in data.notes[0]
    assert read(path, column="a").x.tolist() == ["x y", "z w"]
    assert "not JSON lines" in mistake(write(tmp_path / "u.jsonl", '{"a": 1}\n{"a": '))
    assert "not JSON lines" in mistake(write(tmp_path / "u.jsonl", '["a", "b"]\n'))
    assert "is empty" in mistake(write(tmp_path / "e.jsonl", "\n"))
    assert "only lists, objects or empty ones (b)" in mistake(
        write(tmp_path / "n.jsonl", '{"b": {"c": 1}}\n{"b": {"c": 2}}\n')
    )
    assert "rename it" in mistake(write(tmp_path / "corpus", "a\nb\n"))
    long = write(tmp_path / "l.jsonl", json.dumps({"a": "word " * 400_000}) + "\n" + json.dumps({"a": "b"}))
    assert read(long, column="a").x.tolist() == ["word " * 400_000, "b"]


# ---- tabs


def test_lines_of_a_label_and_a_text(tmp_path):
    """As the SMS Spam Collection has them: no header, commas, and quotes that are never closed."""
    lines = ["ham\tGo on, then.", 'spam\t"WINNER!! call 090', "ham\tok", 'ham\t"quoted" and not', 'spam\tsay ""']
    path = write(tmp_path / "sms.tsv", "\r\n".join(lines))
    with pytest.warns(Note, match="sms.tsv has no header; its columns were named column_0"):
        data = read(f"{path}:column_1", conditions=["column_0"])
    assert data.x.tolist() == [line.split("\t")[1] for line in lines]
    assert data.conditions["column_0"].tolist() == [line.split("\t")[0] for line in lines]
    assert data.name == "sms"


@each_example
@given(st.lists(st.tuples(texts, st.sampled_from(["x", "y"])), min_size=2))
def test_a_table_that_pandas_wrote_with_tabs_comes_back(tmp_path, rows):
    table = pd.DataFrame([*rows, ('"both" a\tb\nc', "x")], columns=["caption", "label"])
    table.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    data = read(tmp_path / "t.tsv", column="caption", conditions=["label"])
    assert data.x.tolist() == table.caption.tolist()
