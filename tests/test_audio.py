"""Audio: a kind of data in one file."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import wavfile

import vaekit
from conftest import vaekit as run
from vaekit.errors import Note, UserError
from vaekit.kinds.audio import Audio, as_float, read_sound

RATE = 8000
TIMES = np.arange(2000) / RATE
PITCHES = np.geomspace(250, 2000, 24)
CLIPS = (0.5 * np.sin(2 * np.pi * PITCHES[:, None] * TIMES) * np.exp(-4 * TIMES)).astype(np.float32)
QUICK: dict[str, Any] = dict(
    size="small", network="mlp", batch_size=8, sampler="prior", kind={"name": "audio", "rate": RATE}
)


def pitch(clip: np.ndarray, rate: int = RATE) -> float:
    """The strongest frequency of a clip, Hz."""
    return float(np.abs(np.fft.rfft(clip)).argmax() * rate / len(clip))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    place = tmp_path_factory.mktemp("sounds")
    for name, some in (("low", CLIPS[:12]), ("high", CLIPS[12:])):
        (place / name).mkdir()
        for i, clip in enumerate(some):
            wavfile.write(place / name / f"{i:02}.wav", RATE, np.rint(clip * 32767).astype(np.int16))
    return place


def test_a_sine_of_full_scale_has_a_magnitude_of_one() -> None:
    kind = Audio(RATE, 2000, 256)
    found = kind.spectrum(torch.sin(2 * torch.pi * 1000 * torch.arange(2000).double() / RATE)[None]).abs()
    torch.testing.assert_close(
        found[0, 32, 10], torch.tensor(1.0).double(), rtol=0.01, atol=0
    )  # 1000 Hz is frequency 32


def test_a_sound_comes_back_from_its_spectrogram() -> None:
    kind = Audio.infer(CLIPS, rate=RATE)
    x, mask = kind.pack(CLIPS)
    back = kind.unpack(kind.batch(x))
    assert mask is None
    assert back.shape == CLIPS.shape
    seen, again = (kind.spectrum(torch.from_numpy(np.array(c)).double()).abs() for c in (CLIPS, back))
    assert (seen - again).norm() < 0.2 * seen.norm()
    np.testing.assert_allclose([pitch(c) for c in back], PITCHES, atol=2 * RATE / 2000)
    values = kind.batch(x)
    assert abs(float(values.mean())) < 1e-3
    assert abs(float(values.std()) - 1) < 1e-3


def test_a_model_of_tones_rebuilds_their_pitch(tmp_path: Path) -> None:
    model = vaekit.VAE(4, epochs=150, learning_rate=3e-3, **QUICK).fit(CLIPS)
    right = [abs(np.log2(pitch(c) / p)) < 0.1 for c, p in zip(model.reconstruct(CLIPS), PITCHES, strict=True)]
    assert np.mean(right) > 0.7
    again = vaekit.load(model.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.transform(CLIPS), model.transform(CLIPS))
    assert again.sample(2).shape == (2, 2000)
    assert model.interpolate(CLIPS[0], CLIPS[1], 3).shape == (3, 2000)


def test_an_array_of_numbers_is_sound_only_where_the_user_says_so() -> None:
    assert vaekit.VAE(2, epochs=1, size="small", sampler="prior").fit(CLIPS[:, :20]).kind_.name == "rows"
    assert vaekit.VAE(2, epochs=1, **QUICK).fit(CLIPS).kind_.name == "audio"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_every_form_of_a_wav_file_is_the_same_sound(dtype: str, tmp_path: Path) -> None:
    clip, kind = CLIPS[3], np.dtype(dtype)
    most = {"f": 1.0, "i": 2.0 ** (8 * kind.itemsize - 1) - 1, "u": 127.0}[kind.kind]
    wavfile.write(
        tmp_path / "x.wav", RATE, (clip.astype(np.float64) * most + (128 if kind.kind == "u" else 0)).astype(dtype)
    )
    np.testing.assert_allclose(read_sound(tmp_path / "x.wav", RATE), clip, atol=2 / 127 if kind.kind == "u" else 1e-4)


def test_channels_are_mixed_and_other_rates_resampled(tmp_path: Path) -> None:
    times = np.arange(44_100 // 4) / 44_100
    tone = np.sin(2 * np.pi * 440 * times).astype(np.float32)
    wavfile.write(tmp_path / "stereo.wav", 44_100, np.stack([tone, 0 * tone], 1))
    found = read_sound(tmp_path / "stereo.wav", RATE)
    assert len(found) == pytest.approx(RATE / 4, abs=2)
    assert pitch(found) == pytest.approx(440, abs=4)
    assert np.abs(found[200:-200]).max() == pytest.approx(0.5, abs=0.02)


def test_a_rate_that_no_sound_has_is_refused_before_memory_runs_out(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 2_000_000_000, np.zeros(9, np.uint8))
    with pytest.raises(
        UserError, match=r"a\.wav has 2000000000 samples per second, which cannot be converted to 1: give a rate"
    ):
        read_sound(tmp_path / "a.wav", 1)


def test_clips_have_no_gaps_to_fill() -> None:
    model = vaekit.VAE(2, epochs=1, **QUICK).fit(CLIPS)
    with pytest.raises(UserError, match="a model of clips does not fill gaps: use reconstruct"):
        model.impute(CLIPS[:2])


def test_flac_is_read(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "x.flac", CLIPS[0], RATE)
    np.testing.assert_allclose(read_sound(tmp_path / "x.flac", RATE), CLIPS[0], atol=1e-4)


def test_clips_of_other_lengths_are_told() -> None:
    with pytest.warns(Note, match="filled up with silence: 1 of 2"):
        clips = Audio.check([CLIPS[0], CLIPS[1][:500]], rate=RATE)
    np.testing.assert_array_equal(clips[1, 500:], 0)
    with pytest.warns(Note, match="cut: 2 of 2; a clip lasts 0.1 s"):
        assert Audio.check(CLIPS[:2], rate=RATE, seconds=0.1).shape == (2, 800)


@pytest.mark.parametrize(("clip", "said"), [
    (["a", "b"], "a clip is an array of numbers"), (np.array([0.1, np.nan, 0.2] * 50), "clip 0 holds a value that is not a number"),
])  # fmt: skip
def test_what_is_not_a_sound_is_told(clip: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        vaekit.VAE(2, **QUICK).fit([clip, clip])


def test_whole_numbers_span_their_type() -> None:
    np.testing.assert_array_equal(as_float(np.array([-32768, 0], dtype=np.int16)), [-1, 0])
    np.testing.assert_array_equal(as_float(np.array([0, 128], dtype=np.uint8)), [-1, 0])


def test_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = run(
        "fit",
        folder,
        "--kind",
        "audio",
        "--kind.rate",
        RATE,
        "-c",
        "label",
        "--size",
        "small",
        "--network",
        "mlp",
        "--epochs",
        2,
        "--out",
        out,
    )
    assert told.returncode == 0, told.stderr
    assert "24 clips of 2000 given label" in told.stderr
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio controls") > 5
    for verb in (
        ["sample", out, "-n", 2, "-c", "low", "-o"],
        ["reconstruct", out, folder, "-o"],
        ["interpolate", out, f"{folder}[0]", f"{folder}[3]", "-o"],
    ):
        told = run(*verb, tmp_path / "sound.wav")
        assert told.returncode == 0, told.stderr
        with wave.open(io.BytesIO((tmp_path / "sound.wav").read_bytes())) as file:
            assert file.getframerate() == RATE
            assert file.getnframes() > 2000
    for verb in ("encode", "score"):
        assert run(verb, out, folder, "-o", tmp_path / "table.csv").returncode == 0
        table = pd.read_csv(tmp_path / "table.csv")
        assert list(table["file"][[0, 12]]) == ["high/00.wav", "low/00.wav"]
        assert list(table["label"]) == ["high"] * 12 + ["low"] * 12


def test_files_that_cannot_be_read_are_left_out_with_a_note_or_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes((folder / "low" / "00.wav").read_bytes())
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.warns(Note, match=r"a file was left out: .*b\.wav is damaged"):
        assert len(Audio.read(str(tmp_path), {"rate": RATE})) == 1
    with pytest.raises(UserError, match=r"b\.wav is damaged"):
        Audio.read(str(tmp_path), {"rate": RATE}, strict=True)
    with pytest.raises(UserError, match="has no condition 'label'"):
        Audio.read(str(tmp_path / "a.wav"), {"rate": RATE}, conditions=["label"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no sound"):
        Audio.read(str(tmp_path / "empty"), {})
