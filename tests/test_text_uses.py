"""What a text model is used for and judged by: gaps against exact enumeration, numbers by hand, a page that holds texts."""

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vaekit
from conftest import SCRIPT, check_page, dataset
from vaekit.deploy.report import write_report
from vaekit.errors import UserError
from vaekit.kinds.text.fill_in import GAP, Reader, candidates
from vaekit.kinds.text.rates import compare_with_language_model, text_lines
from vaekit.kinds.text.report import reconstructions, surprises
from vaekit.recipes.comparison import comparison, language_model
from vaekit.recipes.evaluate import evaluate
from vaekit.recipes.recipe import Recipe
from vaekit.recipes.source import held_out
from vaekit.runs import directory as run
from vaekit.show.words import have_words
from vaekit.sources import read
from vaekit.training.data import generator
from vaekit.uses.scores import new_score

CAPTIONS = [
    f"{who} {does} {what}{end}"
    for who in ("A man", "Two kids", "the dog", "Ein Hund")
    for does in ("rides", "is watching", "läuft zu", "sees")
    for what in ("a horse", "the red ball", "\tsomeone  else", "l'été")
    for end in ("", ".", " .")
]


TINY = {"name": "causal", "width": 16, "heads": 2, "layers": 1}


def untrained(estimator, texts, *y):
    """A tiny model, all but untrained, of large random embeddings, so that tokens matter to those behind them."""
    vae = estimator(2, size="small", likelihood=TINY, epochs=1, sampler="prior").set_params(**y[1]).fit(texts, y[0])
    with torch.no_grad():
        vae.model_.likelihood.network.tokens.codes.weight.mul_(
            0.6
        )  # so that a token is not too likely to follow itself
    return vae


@pytest.fixture(scope="module")
def chars():
    """A model of texts of at most 6 tokens, which are a, b and the space."""
    texts = ["ab ba", "bb a", "a b ab", "b"] * 4
    return untrained(vaekit.VAE, texts, None, {"kind": {"tokenizer": {"name": "char", "longest": 6}}})


@pytest.fixture(scope="module")
def words():
    texts = ["red green blue", "green red", "blue blue green red"] * 4
    return untrained(vaekit.CVAE, texts, [text.split()[-1] for text in texts], {"kind": {"tokenizer": "word"}})


@pytest.fixture(scope="module")
def pairs():
    tokenizer = {"name": "bpe", "vocabulary": 300}
    return vaekit.VAE(2, size="small", kind={"tokenizer": tokenizer}, epochs=2).fit(CAPTIONS)


def check_shares(vae, text, truth, y=None, k=8000):
    """The share of each filling in the candidates' weight is its probability, as far as so many of them can tell."""
    y = vae.conditions_.pack(vae.conditions_.name(y), 1)
    found, weight = candidates(vae.model_, vae.kind_, Reader(vae.kind_).pattern(text), y, k, generator(0, 1))
    found = np.array(found, dtype=object)
    assert set(found[weight > 0]) <= set(truth)
    assert 1 / (weight**2).sum() > k / 100
    for filled, p in truth.items():
        error = np.sqrt((weight**2 * ((found == filled) - p) ** 2).sum())
        assert abs(weight[found == filled].sum() - p) < 5 * error + 0.005


@torch.no_grad()
def integrated(vae, texts, y=None):
    """p(text | it is one of these), z summed out on a grid."""
    line = torch.linspace(-5, 5, 41, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)[:, None].expand(-1, len(texts), -1)  # (grid, texts, 2)
    x, mask = vae.kind_.pack(texts)
    given = vae.conditions_.pack(vae.conditions_.name(y), len(texts))
    with torch.no_grad():
        log_p = vae.fitted_.model.decode(z.float(), given).log_prob(vae.kind_.batch(x), mask) - z.square().sum(-1) / 2
    return dict(zip(texts, log_p.logsumexp(0).softmax(0).numpy(), strict=True))


def test_what_texts_cannot_do_is_said(pairs):
    with pytest.raises(UserError, match='"path" needs rows that are numbers'):
        new_score("path", pairs.fitted_).fit(pairs.fitted_, CAPTIONS[:9])
    for texts, words in ((iter(CAPTIONS), "read only once"), ([], "no rows")):
        with pytest.raises(UserError, match=words):
            pairs.score_samples(texts)
    with pytest.raises(UserError, match="read only once"):
        vaekit.VAE().fit(text for text in CAPTIONS)
    for structure in ("ladder", "vq"):
        with pytest.raises(UserError, match="only structure 'flat'"):
            vaekit.VAE(structure=structure, epochs=1).fit(CAPTIONS)


@pytest.mark.parametrize("text", ["red ___ red", "___ blue red", "blue green ___", "___ red ___", "___"])
def test_words_in_gaps_are_as_likely_as_enumeration_says(words, text):
    known = ["red", "green", "blue"]  # the unknown word never fills a gap
    places = itertools.product(known, repeat=text.count("___"))
    all_texts = [text.replace("___", "%s") % place for place in places]
    for y in (None, "red"):
        check_shares(words, text, integrated(words, all_texts, y), y)


@pytest.mark.parametrize("text", ["red ___ red", "___ blue red", "___ red ___"])
def test_words_in_gaps_are_right_where_z_decides_them(text):
    """Codes of texts far from where the prior has them, and a decoder that minds."""
    texts = ["red green blue", "green red", "blue blue green red"] * 4
    model = untrained(vaekit.CVAE, texts, [text.split()[-1] for text in texts], {"kind": {"tokenizer": "word"}})
    with torch.no_grad():
        model.model_.encoder.out.bias[:2] += 1.0
        model.model_.decoder.layers[-1].weight.mul_(8)
    places = itertools.product(["red", "green", "blue"], repeat=text.count("___"))
    all_texts = [text.replace("___", "%s") % place for place in places]
    check_shares(model, text, integrated(model, all_texts, "red"), "red")


@pytest.mark.parametrize("text", ["a ___", "___ b", "b ___ a", "___", "___ ___"])
def test_fillings_of_any_length_are_as_likely_as_enumeration_says(chars, text):
    """The model has texts of at most 6 tokens, which bounds a filling; one of 6 has no end."""
    gaps, fillings = text.count("___"), ["".join(w) for n in range(1, 6) for w in itertools.product("ab", repeat=n)]
    before, behind = text.rsplit("___", 1)
    filled = {f"{before}___".replace("___", "%s") % f for f in itertools.product(fillings, repeat=gaps)}
    truth = integrated(chars, [f + behind for f in filled if len(f) < 6])  # so that the gap's end can be seen
    check_shares(chars, text, truth, k=30_000)


words_alone = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(words_alone, min_size=1, max_size=3), st.sampled_from(["{} and {}.", "{}", "A  {}\n{} {} ", "¿{}, ({})"])
)
def test_a_pattern_is_what_its_texts_are_made_of(pairs, fillings, form):
    """Whatever a gap held, the text's own tokens lead through the pattern to its end, and those of the gap are told."""
    gaps = form.count("{}")
    fillings = (fillings * gaps)[:gaps]
    pattern = Reader(pairs.kind_).pattern(form.format(*["___"] * gaps))
    state, found = pattern.start, [[] for _ in range(gaps)]
    for code in [t + 1 for t in pairs.kind_.encode([form.format(*fillings)])[0]] + [0]:
        state = int(pattern.after[state, code])
        assert state >= 0
        if (gap := int(pattern.gap_of[state])) >= 0:
            found[gap].append(code - 1)
    assert state == pattern.done
    assert [pairs.kind_.tokenizer.decode(tokens).strip() for tokens in found] == fillings
    assert pattern.filled(fillings) == form.format(*fillings)


def test_what_is_seen_stays_byte_for_byte(pairs):
    texts = [
        "___ rides a horse.",
        "A  man ___\t\tthe ___",
        "two kids",
        "",
        "(___), ___ é",
        "snake___case ____",
        "___ ___",
    ]
    drawn = pairs.impute(texts, draws=3, random_state=1)
    for filled in [pairs.impute(texts), *drawn]:
        assert filled.dtype == object
        for text, got in zip(texts, filled, strict=True):
            form = r"\S+".join(map(re.escape, re.split(GAP, text)))
            assert re.fullmatch(form, got, re.DOTALL)
        assert filled[2] == texts[2]
        assert filled[5] == texts[5]
    again = pairs.impute(texts, draws=3, random_state=1)
    assert np.array_equal(drawn, again)
    assert pairs.impute(texts[:1], draws=3, random_state=1)[2][0] == drawn[2][0]


def test_of_words_what_touches_a_gap_stays(words):
    with pytest.raises(UserError, match="the model knows no word that fits '<___>'"):  # "<unk>" is not a word
        words.impute(["red <___>"])
    with pytest.raises(UserError, match="text 1: the model knows no word that fits '___,'"):
        words.impute(["___", "red ___, blue"])
    with pytest.raises(UserError, match="text 0: a gap comes after the 128 tokens that the model reads"):
        words.impute(["red " * 128 + "___"])
    with pytest.raises(UserError, match="draws=0"):
        words.impute(["___"], draws=0)


# ---- evaluation


def test_a_language_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary():
    texts = ["red green blue", "green red", "blue blue green red", "red"] * 3
    vae = vaekit.VAE(0, size="small", likelihood=TINY, kind={"tokenizer": "word"}, epochs=1).fit(texts)
    with torch.no_grad():
        for weight in vae.model_.likelihood.parameters():
            weight.zero_()
    found, tokens = vae.evaluate(texts, k=3), 3 * (4 + 3 + 5 + 2)
    assert (found["words"], found["tokens"], found["rows"]) == (tokens, tokens, 12)
    assert found["perplexity"] == pytest.approx(5)  # three words, the unknown one, and the end
    assert found["nats_per_word"] == pytest.approx(np.log(5))
    assert found["iw_nll"] == pytest.approx(np.log(5) * tokens / 12)
    assert found["bits_per_character"] == pytest.approx(np.log2(5) * tokens / sum(len(t) + 1 for t in texts))
    itself = compare_with_language_model(found, vae.score_samples(texts))
    assert itself["gain"] == pytest.approx(0, abs=1e-5)
    assert itself["language_model_perplexity"] == pytest.approx(5)
    better = compare_with_language_model(found, vae.score_samples(texts) - 1.5)
    assert better["gain"] == pytest.approx(1.5)
    assert "the IW-NLL is 1.50 nats better" in better["verdict"]
    assert "1.50 nats worse" in compare_with_language_model(found, vae.score_samples(texts) + 1.5)["verdict"]


def test_the_language_model_beside_is_the_same_model_without_a_latent(tmp_path):
    source, folder, said = tmp_path / "texts.txt", tmp_path / "run", []
    source.write_text("\n".join(CAPTIONS).replace("\t", " "))
    settings = {
        "latent_dim": 2,
        "size": "small",
        "likelihood": TINY,
        "epochs": 2,
        "sampler": "prior",
        "kind": {"tokenizer": "word"},
    }
    _, vae = Recipe(str(source), settings=settings).train(folder, say=said.append)
    model = language_model(folder, vae, say=said.append)
    assert "training a language model of the same size" in said[-1]
    same = {name for name, value in vae.get_params().items() if model.get_params()[name] != value}
    assert (same, model.latent_dim) == ({"latent_dim"}, 0)
    assert model.kind_.vocabulary == vae.kind_.vocabulary
    data = held_out(vae)
    found = evaluate(folder, vae, data, 5, beside=model)
    assert found["language_model_nll"] == pytest.approx(-model.score_samples(data.x).mean())
    again = language_model(folder, vae, say=said.append)
    assert len(said) == 2  # it is not trained again
    assert np.array_equal(again.score_samples(data.x), model.score_samples(data.x))
    (folder / run.LANGUAGE_MODEL / run.EVALUATION).unlink()  # as though it had been stopped
    more = language_model(folder, vae, say=said.append)
    assert np.array_equal(more.score_samples(data.x), model.score_samples(data.x))
    assert comparison(folder, model) is None


# ---- the report


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    texts = [text.replace("horse", SCRIPT) for text in CAPTIONS] + ["<b>&amp; \x1b[31m", "$a_b$"]
    labels = np.array(["x", SCRIPT])[np.arange(len(texts)) % 2]
    vae = vaekit.CVAE(
        2, size="small", epochs=1, sampler="prior", kind={"tokenizer": {"name": "bpe", "vocabulary": 300}}
    )
    vae.fit(texts, {"kind": labels})
    rows = np.array(texts, dtype=object)
    results = vae.evaluate(rows[:30], labels[:30], k=2)
    shown = dataset(rows[:30], {"kind": labels[:30]})
    return write_report(tmp_path_factory.mktemp("<b>run"), vae, shown, results, dataset(rows[30:]))


def test_the_report_holds_any_text_and_stands_alone(written):
    text = written.read_text(encoding="utf-8")
    assert SCRIPT not in text
    assert "<b>run" not in text
    assert "<b>&amp;amp;" not in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)


def test_the_report_in_a_browser(written, page):
    check_page(page, written, {
        "training", "samples", "classes", "reconstructions", "interpolations", "surprises", "copies", "units", "next",
        "settings",
    })  # fmt: skip
    assert SCRIPT in page.inner_text("#surprises")
    assert f"kind={SCRIPT}" in page.inner_text("#classes")
    assert "___" in page.inner_text("#next")


def test_words_that_agree_are_marked():
    (found,) = reconstructions(["a man rides a horse"], ["the man rides horse"])
    assert (
        [w for w, same in found["text"] if same]
        == [w for w, same in found["back"] if same]
        == ["man", "rides", "horse"]
    )
    assert found["share"] == "60%"


def test_texts_without_spaces_are_judged_by_characters(tmp_path):
    """As two-part sayings in Chinese are, whose words no space divides."""
    texts = [
        a + b + c for a in ("飞机上", "大年初一", "老鼠") for b in ("挂", "吃", "过") for c in ("粪桶", "豆腐", "街")
    ]
    assert [have_words(t) for t in (texts, CAPTIONS, ["CCO", "c1ccccc1"], ["ein Wort", "Donaudampfschifffahrt geht"])] == [
        False, True, False, True,
    ]  # fmt: skip
    (tmp_path / "t.txt").write_text("\n".join(texts))
    assert re.fullmatch("27 texts, 6 characters each", read(tmp_path / "t.txt").describe())
    vae = vaekit.VAE(2, size="small", epochs=1, sampler="prior", kind={"tokenizer": "char"}).fit(texts)
    found = vae.evaluate(texts, k=2)
    assert "perplexity" not in found
    assert "nats_per_word" not in found
    assert found["characters"] == sum(len(t) + 1 for t in texts)
    assert found["bits_per_character"] == pytest.approx(found["iw_nll"] * 27 / found["characters"] / np.log(2))
    assert not any(
        "word" in line for line in text_lines(found | compare_with_language_model(found, vae.score_samples(texts)))
    )
    rows = np.array(texts, dtype=object)
    results = vae.evaluate(rows[:9], k=2)
    html = write_report(tmp_path, vae, dataset(rows[:9]), results, dataset(rows[9:])).read_text()
    assert "Perplexity" not in html
    assert "of the characters" in html
    (judged,) = surprises(vae, rows[:1], {}, words=False)
    assert [piece for piece, _ in judged] == [*texts[0], "⏎"]


def test_surprises_of_words_add_up_to_the_text(pairs):
    texts = np.array(["A man rides  l'été.", "Ein Hund\tläuft zu a horse", "Two kids"], dtype=object)
    data, model = pairs.packed(texts, None), pairs.fitted_.model
    x = data.x.long()
    p = model.decode(model.posterior(x, None, data.mask).mean, None)
    for text, words, log_p in zip(texts, surprises(pairs, texts, {}), p.log_prob(x, data.mask), strict=True):
        assert [word for word, _ in words] == [*text.split(), "⏎"]
        assert sum(nats for _, nats in words) == pytest.approx(-log_p.item())
