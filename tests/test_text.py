"""Texts: tokens, the causal likelihood, its sampling with a cache, the encoder, and the estimators over them."""

import itertools
import math
import os
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import vaekit as vk
from conftest import dataset
from vaekit.distributions import CausalLikelihood, Sentences
from vaekit.distributions.causal import CodeLogProb, nucleus_draw
from vaekit.errors import Note, UserError
from vaekit.kinds.text import Text
from vaekit.nets.text import END, LanguageModel, TextEncoder, hide_words
from vaekit.nets.transformer import Dropout
from vaekit.training.data import Data, batch_lengths, like_lengths, row_lengths

TEXTS = [
    f"{a} {b} {c} ."
    for a in ("a man", "two kids", "the dog")
    for b in ("rides", "eats", "sees")
    for c in ("it", "me", "a cat")
]
QUICK = dict(size="small", epochs=2, sampler="prior", batch_size=8)


def a_network(vocabulary=3, longest=4, seed=0):
    torch.manual_seed(seed)
    network = LanguageModel(vocabulary, longest, width=8, heads=2, layers=2, dropout=0.3).double().eval()
    for p in network.parameters():  # far from even, so that a mistake would show
        torch.nn.init.normal_(p, std=0.7)
    return network


def every_text(vocabulary, longest):
    """Every text there is: tokens 1.. up to an END, or cut at the longest, padded with END -> (N, longest), mask."""
    texts = [
        (*words, *[END] * (longest - n))
        for n in range(longest + 1)
        for words in itertools.product(range(1, vocabulary), repeat=n)
    ]
    x = torch.tensor(texts)
    return x, torch.cat([torch.ones(len(x), 1, dtype=torch.bool), (x != END)[:, :-1]], dim=1)


def test_probabilities_of_all_texts_add_to_1():
    network = a_network()
    x, mask = every_text(3, 4)
    memory = torch.randn(2, 2, 8, dtype=torch.float64)
    for m in memory:
        log_p = Sentences(network, m.expand(len(x), 2, 8)).log_prob(x, mask)
        assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-12)


def test_texts_are_drawn_as_often_as_they_are_probable():
    network, n = a_network(), 20_000
    x, mask = every_text(3, 4)
    memory = torch.randn(2, 8, dtype=torch.float64)
    p = Sentences(network, memory.expand(len(x), 2, 8)).log_prob(x, mask).exp()
    generator = torch.Generator().manual_seed(0)
    drawn = Sentences(network, memory.expand(n, 2, 8)).sample(1, lambda *s: torch.randn(*s, generator=generator))[0]
    place = {tuple(t): i for i, t in enumerate(x.tolist())}
    counts = torch.bincount(torch.tensor([place[tuple(t)] for t in drawn.tolist()]), minlength=len(x))
    chi2 = ((counts - n * p) ** 2 / (n * p)).sum().item()
    dof = len(x) - 1
    assert chi2 < dof + 5 * math.sqrt(2 * dof)


def test_what_the_cache_writes_is_what_the_whole_text_says():
    network = a_network(vocabulary=11, longest=9)
    memory = torch.randn(5, 2, 8, dtype=torch.float64)
    likeliest = Sentences(network, memory).mean
    before = torch.cat([torch.full((5, 1), END), likeliest[:, :-1]], dim=1)
    logits = network.logits(network(before, memory))
    ended = (likeliest == END).long().cumsum(1) > 1
    for row, chosen, over in zip(logits.argmax(-1), likeliest, ended, strict=True):
        assert (row == chosen)[: int((~over).sum())].all()


def test_a_token_more_costs_one_tokens_work():
    network, seen = a_network(vocabulary=11, longest=30), []
    network.bias.data[END] = -1e9  # goes on to the longest
    network.layers.layers[0].self_attn.register_forward_hook(lambda module, args, out: seen.append(args[1].shape[1]))
    Sentences(network, torch.randn(1, 2, 8, dtype=torch.float64)).sample()
    assert seen == [2, *[1] * 29]  # the first brings the memory along


def test_a_text_is_scored_the_same_whatever_its_company_and_padding():
    network = a_network(vocabulary=11, longest=9)
    memory = torch.randn(3, 2, 8, dtype=torch.float64)
    x = torch.tensor([[4, 5, 0, 0, 0], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]).bool()
    together = Sentences(network, memory).log_prob(x, mask)
    assert torch.equal(together, Sentences(network, memory).log_prob(F.pad(x, (0, 3)), F.pad(mask, (0, 3))))
    torch.testing.assert_close(together, Sentences(network, memory).log_prob(x))  # without a mask up to the end
    for i in range(3):
        alone = Sentences(network, memory[i : i + 1]).log_prob(x[i : i + 1], mask[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


def test_tokens_see_the_past_alone_and_nothing_that_is_missing():
    network = a_network(vocabulary=11, longest=9)
    p = Sentences(network, torch.randn(1, 2, 8, dtype=torch.float64))
    x = torch.tensor([[1, 2, 3, 4, 5, 0]])
    other = torch.tensor([[1, 2, 3, 9, 5, 0]])
    a, b = p.log_prob_tokens(x), p.log_prob_tokens(other)
    assert torch.equal(a[:, :3], b[:, :3])
    assert (a[:, 3:] != b[:, 3:]).all()
    mask = torch.tensor([[1, 1, 1, 0, 1, 1]]).bool()
    hidden = p.log_prob_tokens(x, mask)
    assert torch.equal(hidden, p.log_prob_tokens(other, mask))
    assert hidden[0, 3] == 0


def test_samples_of_several_memories_have_their_order():
    network = a_network(vocabulary=11, longest=5)
    memory = torch.randn(3, 2, 2, 8, dtype=torch.float64)
    noise = torch.randn(4, 3, 2, 5, dtype=torch.float64)
    drawn = Sentences(network, memory).sample(4, lambda *shape: noise)
    assert drawn.shape == (4, 3, 2, 5)
    one = Sentences(network, memory[2, 1]).sample(1, lambda *shape: noise[3, 2, 1].view(1, 5))[0]
    assert torch.equal(one, drawn[3, 2, 1])
    x = torch.tensor([[1, 2, 0], [3, 0, 0]])  # rows are the last of the batch's dimensions
    assert Sentences(network, memory).log_prob(x).shape == (3, 2)
    torch.testing.assert_close(
        Sentences(network, memory).log_prob(x)[1, 1:], Sentences(network, memory[1, 1:]).log_prob(x[1:])
    )


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
@settings(max_examples=50, deadline=None)
def test_a_nucleus_is_as_few_tokens_as_have_the_probability(seed, top_p):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(1, 6, generator=generator, dtype=torch.float64)
    p = logits.softmax(-1)[0]
    order = p.argsort(descending=True).tolist()
    kept = []
    for i in order:
        kept.append(i)
        if p[kept].sum() >= top_p:
            break
    n = 4000
    drawn = nucleus_draw(logits.expand(n, 6), top_p, (torch.arange(n, dtype=torch.float64) + 0.5) / n)
    share = torch.bincount(drawn, minlength=6) / n
    wanted = torch.zeros(6, dtype=torch.float64)
    wanted[kept] = p[kept] / p[kept].sum()
    torch.testing.assert_close(share.double(), wanted, atol=2e-3, rtol=0)


def test_log_probabilities_of_codes_have_the_gradient_of_the_softmax():
    generator = torch.Generator().manual_seed(0)
    h, w = (torch.randn(n, 4, generator=generator, dtype=torch.float64, requires_grad=True) for n in (5, 7))
    b = torch.randn(7, generator=generator, dtype=torch.float64, requires_grad=True)
    codes = torch.tensor([0, 3, 6, 3, 1])
    assert torch.autograd.gradcheck(lambda *a: CodeLogProb.apply(*a, codes), (h, w, b))
    wanted = F.linear(h, w, b).log_softmax(-1)[torch.arange(5), codes]
    torch.testing.assert_close(CodeLogProb.apply(h, w, b, codes), wanted)


def test_dropout_keeps_the_mean_and_drops_its_share():
    layer, x = Dropout(0.3), torch.ones(1000, 300)
    torch.manual_seed(0)
    y = layer(x)
    assert (y == 0).float().mean().item() == pytest.approx(0.3, abs=0.005)
    assert y.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(layer.eval()(x), x)


def test_the_encoder_sees_neither_padding_nor_what_is_missing():
    torch.manual_seed(0)
    net = TextEncoder((8,), (3,), 2, vocabulary=11, width=8, heads=2, layers=2, dropout=0.2).double().eval()
    c = torch.randn(2, 2, dtype=torch.float64)
    x = torch.tensor([[4, 5, 6, 0, 0], [1, 2, 3, 4, 0]])
    mask = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1]]).bool()
    y = net(x, c, mask)
    torch.testing.assert_close(y[:1], net(torch.tensor([[4, 9, 6, 0]]), c[:1], mask[:1, :4]))
    assert not torch.allclose(y[:1], net(torch.tensor([[4, 5, 6, 0]]), c[:1]))


@torch.no_grad()
def test_what_networks_are_shown_is_cut_to_the_longest():
    codes, inside = hide_words(torch.tensor([[3, 0, 0, 0], [2, 4, 0, 0]]), None, 7)
    assert codes.tolist() == [[3, 0, 7], [2, 4, 0]]
    assert inside.tolist() == [[True, True, False], [True, True, True]]
    assert hide_words(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool), 7)[0].tolist() == [[7], [7]]


@given(st.lists(st.integers(1, 30), min_size=4, max_size=60), st.integers(1, 4), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_training_cuts_each_batch_behind_its_longest_text(lengths, batch, seed):
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(30) < torch.tensor(lengths)[:, None]
    assert row_lengths(Data(torch.zeros(len(lengths), 30), mask)).tolist() == lengths
    for i, cut in enumerate(batch_lengths(torch.tensor(lengths), order, batch, 30)):
        longest = max(lengths[j] for j in order[i * batch : (i + 1) * batch].tolist())
        assert longest <= cut <= min(30, longest + 3)
        assert cut % 4 == 0 or cut == 30


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_batches_of_like_length_are_every_row_once(lengths, batch, epoch):
    order = torch.randperm(len(lengths))
    found = like_lengths(order, torch.tensor(lengths), min(batch, len(lengths)), 0, epoch)
    assert sorted(found.tolist()) == list(range(len(lengths)))
    assert torch.equal(found, like_lengths(order, torch.tensor(lengths), min(batch, len(lengths)), 0, epoch))


def test_batches_of_like_length_hardly_pad():
    lengths = torch.randint(1, 100, (6400,))
    batches = lengths[like_lengths(torch.randperm(6400), lengths, 64, 0, 0)].view(-1, 64)
    assert (batches.amax(1, keepdim=True) - batches).sum() < 0.1 * lengths.sum()


# -- tokens ------------------------------------------------------------------------------------------------------------

BYTES = Text.infer(TEXTS, tokenizer="bpe")


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_byte_pairs_are_any_text(texts):
    texts = [t.encode("utf-8", "ignore").decode() for t in texts]
    BYTES.longest = 10_000
    x, mask = BYTES.pack(texts)
    assert BYTES.unpack(x).tolist() == texts
    assert (x[mask] == END).sum() == len(texts)


@given(st.lists(st.text("abc <>unk\n\t", max_size=30), min_size=2, max_size=5))
@settings(max_examples=60, deadline=None)
def test_characters_and_words_come_back(texts):
    if len(set("".join(texts))) > 1:
        domain = Text.infer(texts, tokenizer="char")
        assert domain.unpack(domain.pack(texts)[0]).tolist() == texts
    if len({w for t in texts for w in t.split()}) > 1:
        domain = Text.infer(texts, tokenizer="word")
        assert domain.unpack(domain.pack(texts)[0]).tolist() == [" ".join(t.split()) for t in texts]


def test_a_vocabulary_keeps_what_is_frequent():
    domain = Text.infer(["a a a b b c", "a d"], tokenizer={"name": "word", "vocabulary": 3})
    assert domain.vocabulary == 4  # the end, <unk>, a, b
    assert domain.unpack(domain.pack(["a b c d"])[0]).tolist() == ["a b <unk> <unk>"]


def test_a_long_text_is_cut_and_has_no_end():
    domain = Text.infer([*TEXTS, "a " * 100_000], tokenizer={"name": "word", "longest": 20})
    assert (domain.longest, domain.cut) == (20, 1)
    with pytest.warns(Note, match="texts that were cut: 1 of 2; the model reads at most 20 tokens"):
        x, mask = domain.pack(["a " * 100_000, "a man"])
    assert x.shape == (2, 20)
    assert (x[0] != END).all()
    assert mask.sum(1).tolist() == [20, 3]


def test_a_word_of_a_million_letters_takes_no_longer_than_what_is_read_of_it():
    domain = Text.infer([*TEXTS, "ab" * 500_000])
    assert domain.unpack(domain.pack(["ab" * 500_000])[0])[0].startswith("abababab")


@pytest.mark.parametrize(
    ("texts", "options", "said"),
    [
        (["a", "a", "a"], "word", "one token 'a'"),
        (["a", "aa", "aaa"], "char", "one token 'a'"),
        (TEXTS, "words", "did you mean 'word'"),
        (TEXTS, {"name": "word", "vocab": 3}, "has no option 'vocab'"),
        (TEXTS, {"name": "word", "longest": 0}, "a whole number from 1"),
        (["a", None], "word", "text 1 is None"),
    ],
)
def test_what_cannot_be_learned_from_is_told(texts, options, said):
    with pytest.raises(UserError, match=said):
        vk.VAE(kind={"tokenizer": options}).fit(texts)


# -- estimators --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vae():
    return vk.VAE(3, kind={"tokenizer": "word"}, **QUICK).fit(TEXTS)


def test_an_estimator_of_texts(vae, tmp_path):
    assert vae.sample(3).shape == (3,)
    assert all(isinstance(t, str) for t in vae.sample(3, temperature=0.5, top_p=0.9))
    assert vae.transform(TEXTS).shape == (27, 3)
    assert vae.reconstruct(TEXTS[:4]).shape == (4,)
    way = vae.interpolate(TEXTS[0], TEXTS[1], 5)
    assert way.tolist()[:: len(way) - 1] == vae.reconstruct(TEXTS[:2]).tolist()
    vae.save(tmp_path / "run")
    again = vk.load(tmp_path / "run")
    assert again.sample(5, random_state=1).tolist() == vae.sample(5, random_state=1).tolist()
    assert np.array_equal(again.score_samples(TEXTS, k=3), vae.score_samples(TEXTS, k=3))


def test_a_text_scores_the_same_alone(vae):
    scores = vae.score_samples(TEXTS, k=4)
    np.testing.assert_allclose(vae.score_samples(TEXTS[5:6], k=4), scores[5:6], rtol=1e-10)


def test_a_language_model_is_a_model_without_a_latent():
    model = vk.VAE(0, kind={"tokenizer": "word"}, **QUICK).fit(TEXTS)
    results = model.evaluate(TEXTS, k=2)
    assert results["kl"] == 0
    assert results["verdict"].startswith("The model has no latent")
    assert results["iw_nll"] == pytest.approx(-results["elbo"])
    np.testing.assert_allclose(model.score_samples(TEXTS, k=1), model.score_samples(TEXTS, k=3))
    with pytest.raises(UserError, match="latent_dim=0 is too small"):
        vk.VAE(0, epochs=1).fit(np.random.default_rng(0).normal(size=(20, 3)))


def test_texts_of_a_class():
    y = np.array(["x" if t.startswith("a man") else "y" for t in TEXTS])
    cvae = vk.CVAE(0, kind={"tokenizer": "word"}, size="small", epochs=200, batch_size=9, objective="elbo").fit(
        TEXTS, y
    )
    assert np.mean([t.startswith("a man") for t in cvae.sample(200, y="x")]) > 0.85
    assert np.mean([t.startswith("a man") for t in cvae.sample(200, y="y")]) < 0.1


def test_training_that_was_stopped_ends_with_the_same_weights(tmp_path):
    class Stop:
        def step(self, state, progress, terms):
            if state.step == 4:
                os.kill(os.getpid(), signal.SIGINT)

        def epoch(self, *_):
            pass

    rows = np.array(TEXTS, dtype=object)
    whole = vk.VAE(3, **QUICK).fit_data(dataset(rows))
    first = vk.VAE(3, **QUICK).fit_data(dataset(rows), folder=tmp_path / "run", watchers=[Stop()])
    assert first.interrupted_
    assert len(first.history_) == 1  # in the middle of the second epoch of three batches
    again = vk.VAE(3, **QUICK).fit_data(dataset(rows), folder=tmp_path / "run", resume=True)
    for name, tensor in whole.model_.state_dict().items():
        assert torch.equal(tensor, again.model_.state_dict()[name]), name


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prior": "vamp"}, "'mixture' or 'flow'"),
        ({"likelihood": "normal"}, "likelihood 'normal' is for other data than texts"),
        ({"network": "conv"}, "leave it out for texts"),
        ({"kind": {"binarize": "dynamic"}}, "binarize is for pictures"),
        ({"structure": "ladder"}, "structure"),
        ({"likelihood": {"name": "causal", "width": 30}}, "does not divide"),
        ({"likelihood": {"name": "causal", "word_dropout": 1.0}}, "below 1"),
    ],
)
def test_parts_that_texts_have_not(settings, said):
    with pytest.raises(UserError, match=said):
        vk.VAE(**{**QUICK, **settings}).fit(TEXTS)


def test_other_data_has_no_tokenizer():
    with pytest.raises(UserError, match="tokenizer is for texts"):
        vk.VAE(kind={"tokenizer": "word"}, epochs=1).fit(np.random.default_rng(0).normal(size=(20, 3)))


def test_the_likelihood_takes_codes_alone():
    likelihood = CausalLikelihood((4,), vocabulary=5, width=8, heads=2)
    with pytest.raises(UserError, match="codes of tokens"):
        likelihood.check(torch.tensor([[1, 7, 0, 0]]))


# ---- how texts are written, and what is told


def test_what_is_longer_than_every_training_text_is_read_and_what_is_cut_is_told():
    vae = vk.VAE(2, kind={"tokenizer": "word"}, **QUICK).fit(TEXTS)  # of at most 5 words
    long = "a man rides it . " * 10
    assert vae.score_samples([long])[0] != vae.score_samples([long.replace(".", "it")])[0]  # they differ behind word 5
    assert (vae.transform([long]) != vae.transform([long[:-2] + "me"])).any()
    for use in (vae.transform, vae.score_samples, vae.reconstruct, lambda t: vae.evaluate(t, k=2)):
        with pytest.warns(Note, match="texts that were cut: 2 of 3; the model reads at most 128 tokens"):
            use([long * 3, "a man", long * 5])


def test_words_that_are_not_known_are_counted_and_never_written():
    texts = [f"{t} {w}" for t, w in zip(TEXTS, "qrstuvwxyz" * 3, strict=False)]
    vae = vk.VAE(2, kind={"tokenizer": {"name": "word", "vocabulary": 12}}, **QUICK)
    with pytest.warns(Note, match=r"tokens that the model does not know: \d+ of \d+ \(.*%\), such as '"):
        vae.fit(texts)
    unknown = vae.kind_.tokenizer.token_to_id("<unk>") + 1
    assert vae.kind_.unwritten == {unknown}
    with torch.no_grad():
        vae.model_.likelihood.network.bias[unknown] += 50  # it would be written each time
    assert not any(
        "<unk>" in text for text in [*vae.sample(20), *vae.reconstruct(texts[:5]), *vae.impute(["a ___ it"])]
    )
    with pytest.warns(Note, match=r"tokens that the model does not know: 2 of 3 \(66.7%\), such as 'zzz'"):
        vae.score_samples(["zzz qqq a"])


def test_tokens_that_were_written_are_less_likely_by_a_penalty_and_codes_can_be_left_out():
    """Against a loop that asks the network for each token anew."""
    network, penalty = a_network(vocabulary=11, longest=9), 1.7
    memory = torch.randn(4, 2, 8, dtype=torch.float64)
    for i, written in enumerate(Sentences(network, memory, repetition_penalty=penalty, unwritten=[3, 5]).mean.tolist()):
        tokens = []
        while len(tokens) < 9 and END not in tokens:
            before = torch.tensor([[END, *tokens]])
            log_p = network.logits(network(before, memory[i : i + 1])[0, -1]).log_softmax(-1)
            for token in set(tokens):
                log_p[token] *= penalty
            log_p[[3, 5]] = -math.inf
            tokens.append(int(log_p.argmax()))
        assert written == [*tokens, *[END] * (9 - len(tokens))]


def test_texts_have_a_length_at_most_and_a_note_counts_those_without_an_end():
    vae = vk.VAE(2, kind={"tokenizer": "word"}, **QUICK).fit(TEXTS)
    with torch.no_grad():
        vae.model_.likelihood.network.bias[END] -= 50
    for write in (
        lambda: vae.sample(4, max_length=3),
        lambda: vae.reconstruct(TEXTS[:4], max_length=3),
        lambda: vae.interpolate(TEXTS[0], TEXTS[1], 4, max_length=3),
        lambda: vae.inverse_transform(np.zeros((4, 2)), max_length=3),
    ):
        with pytest.warns(Note, match="texts without an end: 4 of 4; they reached the limit of 3 tokens"):
            assert {len(text.split()) for text in write()} == {3}


def test_reconstructions_may_be_drawn():
    vae = vk.VAE(2, kind={"tokenizer": "word"}, **QUICK).fit(TEXTS)
    likeliest = vae.reconstruct(TEXTS[:8])
    assert (vae.reconstruct(TEXTS[:8], temperature=0) == likeliest).all()
    assert (vae.reconstruct(TEXTS[:8], temperature=1, top_p=1e-9) == likeliest).all()
    drawn = vae.reconstruct(TEXTS[:8], temperature=2, random_state=3)
    assert (drawn != likeliest).any()
    assert (drawn == vae.reconstruct(TEXTS[:8], temperature=2, random_state=3)).all()
    assert (drawn != vae.reconstruct(TEXTS[:8], temperature=2, random_state=4)).any()


def test_codes_may_be_decoded_with_another_label():
    labels = ["x" if text.startswith("a man") else "y" for text in TEXTS]
    cvae = vk.CVAE(2, kind={"tokenizer": "word"}, **QUICK).fit(TEXTS, labels)
    expected = cvae.inverse_transform(cvae.transform(TEXTS, labels), ["x"] * len(TEXTS))
    assert (cvae.reconstruct(TEXTS, labels, to="x") == expected).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repetition_penalty": 0.5}, "repetition_penalty is 0.5: it has to be a number, 1 or more"),
        ({"max_length": 500}, "max_length is 500: it has to be from 1 to 128"),
        ({"top_p": 0}, "top_p is 0: it has to be above 0"),
        ({"temperature": -1}, "temperature( is |=)-1"),
    ],
)
def test_ways_of_writing_that_cannot_be(options, said):
    vae = vk.VAE(2, kind={"tokenizer": "word"}, **QUICK).fit(TEXTS)
    with pytest.raises(UserError, match=said):
        vae.sample(2, **options)
    with pytest.raises(UserError, match=said):
        vae.reconstruct(TEXTS[:2], **options)


def test_ways_of_writing_are_for_texts():
    vae = vk.VAE(2, epochs=1, size="small").fit(np.random.default_rng(0).normal(size=(20, 3)))
    with pytest.raises(UserError, match="max_length is for texts"):
        vae.sample(2, max_length=3)


def test_texts_that_are_none_are_told():
    with pytest.raises(UserError, match="text 0 is a list of words: give each text as one string"):
        vk.VAE(2).fit([["a", "man"], ["a", "dog", "sees"]])
    vae = vk.VAE(2, kind={"tokenizer": "word"}, **QUICK).fit(TEXTS)
    with pytest.raises(UserError, match="X is None: give the rows"):
        vae.transform(None)
    with pytest.raises(UserError, match="text 1 is a list of words"):
        vae.transform(["a man", ["a", "man"]])


@pytest.fixture(scope="module")
def own_tokenizer():
    """As BERT's: pieces of words in lower case, marks around each text, what is long is cut."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(special_tokens=["[UNK]", "[CLS]"], show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A", None, [("[CLS]", tokenizer.token_to_id("[CLS]"))]
    )
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding()
    return tokenizer


@pytest.mark.parametrize("form", ["object", "file", "options"])
def test_a_tokenizer_of_ones_own(own_tokenizer, form, tmp_path):
    own_tokenizer.save(str(tmp_path / "mine.json"))
    part = {"object": own_tokenizer, "file": tmp_path / "mine.json"}.get(
        form, {"name": str(tmp_path / "mine.json"), "longest": 50}
    )
    vae = vk.VAE(2, kind={"tokenizer": part}, **QUICK).fit([text.upper() for text in TEXTS])
    assert vae.kind_.longest == (50 if form == "options" else 128)
    x, mask = vae.kind_.pack(TEXTS)
    assert vae.kind_.unpack(x).tolist() == TEXTS  # all of a text, and no marks
    assert (mask.sum(1) > 4).all()  # more than the tokenizer itself would leave
    marks = {own_tokenizer.token_to_id(mark) + 1 for mark in ("[UNK]", "[CLS]")}
    assert vae.kind_.unwritten == marks
    back = vk.load(vae.save(tmp_path / "run"))
    assert (back.reconstruct(TEXTS[:3]) == vae.reconstruct(TEXTS[:3])).all()
    with pytest.raises(UserError, match="your own tokenizer"):
        vae.impute(["a man ___ it"])


def test_a_file_that_is_no_tokenizer_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot read the tokenizer"):
        vk.VAE(2, kind={"tokenizer": str(tmp_path / "none.json")}).fit(TEXTS)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UserError, match=r"is not a file that Tokenizer\.save of Hugging Face's library wrote"):
        vk.VAE(2, kind={"tokenizer": tmp_path / "other.json"}).fit(TEXTS)
