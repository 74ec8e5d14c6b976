"""What a text model is used for and judged by: gaps against exact enumeration, numbers by hand, a page that holds texts."""

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vaekit
from vaekit.errors import UserError
from vaekit.training.data import generator
from vaekit.uses.fill_in import GAP, Reader, candidates

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
    return untrained(vaekit.VAE, texts, None, {"tokenizer": {"name": "char", "longest": 6}})


@pytest.fixture(scope="module")
def words():
    texts = ["red green blue", "green red", "blue blue green red"] * 4
    return untrained(vaekit.CVAE, texts, [text.split()[-1] for text in texts], {"tokenizer": "word"})


@pytest.fixture(scope="module")
def pairs():
    tokenizer = {"name": "bpe", "vocabulary": 300}
    return vaekit.VAE(2, size="small", tokenizer=tokenizer, epochs=2).fit(CAPTIONS)


def check_shares(vae, text, truth, y=None, unknown="<unk>", k=8000):
    """The share of each filling in the candidates' weight is its probability, as far as so many of them can tell."""
    y = vae.schema_.pack(vae.schema_.name(y), 1)
    found, weight = candidates(vae.model_, vae.domain_, Reader(vae.domain_).pattern(text), y, k, generator(0, 1))
    found = np.array([f.replace("<unk>", unknown) for f in found], dtype=object)
    assert set(found[weight > 0]) <= set(truth)
    assert 1 / (weight**2).sum() > k / 100
    for filled, p in truth.items():
        error = np.sqrt((weight**2 * ((found == filled) - p) ** 2).sum())
        assert abs(weight[found == filled].sum() - p) < 5 * error + 0.005


def exact(vae, texts, y=None, k=2000):
    """p(text | it is one of these), by many z each."""
    log_p = vae.score_samples(texts, None if y is None else [y] * len(texts), k=k)
    p = np.exp(log_p - log_p.max())
    return dict(zip(texts, p / p.sum(), strict=True))


@pytest.mark.parametrize("text", ["red ___ red", "___ blue red", "blue green ___", "___ red ___", "___"])
def test_words_in_gaps_are_as_likely_as_enumeration_says(words, text):
    known = ["red", "green", "blue", "<unk>"]
    places = itertools.product(known, repeat=text.count("___"))
    all_texts = [text.replace("___", "%s") % place for place in places]
    for y in (None, "red"):
        check_shares(words, text, exact(words, all_texts, y), y)


@pytest.mark.parametrize("text", ["a ___", "___ b", "b ___ a", "___", "___ ___"])
def test_fillings_of_any_length_are_as_likely_as_enumeration_says(chars, text):
    """The model has texts of at most 6 tokens, which bounds a filling; one of 6 has no end."""
    gaps, fillings = text.count("___"), ["".join(w) for n in range(1, 6) for w in itertools.product("ab?", repeat=n)]
    before, behind = text.rsplit("___", 1)
    filled = {f"{before}___".replace("___", "%s") % f for f in itertools.product(fillings, repeat=gaps)}
    truth = exact(chars, [f + behind for f in filled if len(f) < 6], k=300)  # so that the gap's end can be seen
    check_shares(chars, text, truth, unknown="?")  # which is a character that the model does not know


words_alone = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(words_alone, min_size=1, max_size=3), st.sampled_from(["{} and {}.", "{}", "A  {}\n{} {} ", "¿{}, ({})"])
)
def test_a_pattern_is_what_its_texts_are_made_of(pairs, fillings, form):
    """Whatever a gap held, the text's own tokens lead through the pattern to its end, and those of the gap are told."""
    gaps = form.count("{}")
    fillings = (fillings * gaps)[:gaps]
    pattern = Reader(pairs.domain_).pattern(form.format(*["___"] * gaps))
    state, found = pattern.start, [[] for _ in range(gaps)]
    for code in [t + 1 for t in pairs.domain_.encode([form.format(*fillings)])[0]] + [0]:
        state = int(pattern.after[state, code])
        assert state >= 0
        if (gap := int(pattern.gap_of[state])) >= 0:
            found[gap].append(code - 1)
    assert state == pattern.done
    assert [pairs.domain_.tokenizer.decode(tokens).strip() for tokens in found] == fillings
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
    names = [words.domain_.tokenizer.decode([i]) for i in range(words.domain_.vocabulary - 1)]
    first = Reader(words.domain_).word("<___>").first
    assert [name for name, may in zip(["", *names], first, strict=True) if may] == ["<unk>"]
    assert words.impute(["red <___>"]).tolist() == ["red <unk>"]
    with pytest.raises(UserError, match="text 1: no word that the model knows is like '___,'"):
        words.impute(["___", "red ___, blue"])
    with pytest.raises(UserError, match="text 0: a gap is behind the 5 tokens that the model reads"):
        words.impute(["red red red red red ___"])
    with pytest.raises(UserError, match="draws is 0"):
        words.impute(["___"], draws=0)
