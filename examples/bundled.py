"""Makes the files of `vaekit data` from their originals, and the texts from two small grammars.

    python examples/bundled.py FOLDER

FOLDER holds the originals as their authors publish them: Fashion-MNIST's train-images-idx3-ubyte.gz and
train-labels-idx1-ubyte.gz, UCI Adult's adult.data.gz, and nyc_taxi.csv of the Numenta Anomaly Benchmark. The same seed
makes the same files. Where each set is from, and its licence: src/vaekit/bundled/README.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vaekit.bundled import HERE, SHEET

SEED = 0
SIDE = 28
PER_CLASS = 100
PEOPLE = 2500

# -- clothes -----------------------------------------------------------------------------------------------------------


def clothes(images: Path, labels: Path) -> bytes:
    """A sheet with a row for each of the ten classes: as many pictures of each, drawn from the training set."""
    x = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16).reshape(-1, SIDE, SIDE)
    y = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
    draw = np.random.RandomState(SEED)
    rows = [np.hstack(x[draw.choice(np.flatnonzero(y == label), PER_CLASS, replace=False)]) for label in range(10)]
    file = io.BytesIO()
    Image.fromarray(np.vstack(rows)).save(file, "PNG", optimize=True)
    return file.getvalue()


# -- people ------------------------------------------------------------------------------------------------------------

# The original's columns, in its order. Two stay out: how many people a row stands for, which is a weight of the survey
# and says nothing about the person, and race.
COLUMNS = [
    "age", "work", None, "education", "years_of_education", "marital_status", "occupation", "relationship", None, "sex",
    "capital_gain", "capital_loss", "hours", "native_country", "income",
]  # fmt: skip


def people(adult: Path) -> bytes:
    """Rows drawn from UCI Adult, in their order, with a header; what the original marks with ? is an empty cell."""
    lines = [line for line in gzip.decompress(adult.read_bytes()).decode().splitlines() if line.strip()]
    picked = sorted(random.Random(SEED).sample(range(len(lines)), PEOPLE))
    kept = [i for i, name in enumerate(COLUMNS) if name]
    rows = [[cell.strip().replace("?", "") for cell in lines[row].split(",")] for row in picked]
    return table([COLUMNS[i] for i in kept], ([row[i] for i in kept] for row in rows))


# -- taxi --------------------------------------------------------------------------------------------------------------


def taxi(nyc_taxi: Path) -> bytes:
    """The whole series, with names for its columns."""
    _, *rows = csv.reader(nyc_taxi.read_text().splitlines())
    return table(["time", "passengers"], rows)


# -- texts -------------------------------------------------------------------------------------------------------------

# A grammar: what stands in {braces} is the name of a list, of which one entry is drawn, until no name is left. An entry
# may be empty.
CAPTIONS = {
    "caption": ["{scene}{when}"],
    "when": [""] * 8 + [" on a sunny day", " on a rainy day", " in the evening", " at sunset", " at night", " in winter"],
    "scene": [
        "{person} {riding} {road}", "{person} {play} {outdoors}", "{person} {winter} {snow}", "{person} {sea} {shore}",
        "{person} {cook} {kitchen}", "{person} {rest} {seat}", "{person} {music} {stage}", "{person} {market} {stalls}",
        "{dog} {dogs_do} {outdoors}", "{dog} {dogs_do} {beach}", "{cat} {cats_do} {indoors}", "{herd} {graze} {meadow}",
        "{wild} {roam} {savanna}", "{bird} {birds_do} {water}", "{vehicle} {drive} {street}", "{boat} {float} {water}",
        "{food} {served} {table}",
    ],
    "person": ["a {one}{look}", "a {one}{look}", "{several}"],
    "one": ["man", "woman", "boy", "girl", "young man", "young woman", "little boy", "little girl", "farmer", "student"],
    "several": ["two men", "two women", "two children", "three friends", "a man and a woman", "a group of people"],
    "look": [
        "", "", "", " in a {color} shirt", " in a {color} jacket", " in a {color} hat", " with a backpack",
        " with an umbrella", " with long hair", " with glasses",
    ],
    "color": ["red", "blue", "green", "yellow", "white", "black", "orange", "purple"],
    "riding": [
        "riding a horse", "riding a bicycle", "pushing a bicycle", "riding a motorcycle", "walking a dog", "running",
        "riding a skateboard", "pulling a cart", "waiting for a bus",
    ],
    "road": [
        "down a narrow street", "along a country road", "past a row of shops", "across a stone bridge",
        "through a small village", "in front of a church", "near a railway station", "next to a tall building",
    ],
    "play": [
        "playing soccer", "playing tennis", "playing baseball", "flying a kite", "throwing a frisbee", "having a picnic",
        "kicking a ball", "climbing a tree",
    ],
    "outdoors": ["in a park", "on a green lawn", "in a garden", "behind a school", "under a large tree", "near a fountain"],
    "winter": ["skiing", "snowboarding", "pulling a sled", "building a snowman", "walking", "throwing snowballs"],
    "snow": ["down a snowy hill", "between tall pine trees", "in deep snow", "on top of a mountain", "near a wooden cabin"],
    "sea": ["surfing a wave", "carrying a surfboard", "swimming", "collecting shells", "fishing", "paddling a canoe"],
    "shore": ["near the beach", "in the sea", "close to the rocks", "in front of a lighthouse", "along the coast"],
    "beach": ["on the beach", "close to the rocks", "in front of a lighthouse", "on wet sand"],
    "cook": [
        "cutting vegetables", "baking bread", "cooking soup", "washing dishes", "making a pizza", "pouring tea",
        "decorating a cake", "peeling apples",
    ],
    "kitchen": ["in a small kitchen", "in a restaurant kitchen", "at a wooden table", "next to a stove", "near an open window"],
    "rest": [
        "reading a book", "reading a newspaper", "drinking coffee", "talking on the phone", "writing a letter", "sleeping",
        "eating a sandwich", "working on a laptop",
    ],
    "seat": ["on a park bench", "on a train", "in a cafe", "on a sofa", "by the window", "in the shade of a tree"],
    "music": ["playing the guitar", "playing the piano", "playing the violin", "singing", "dancing", "playing the drums"],
    "stage": ["on a stage", "in front of a crowd", "in a busy square", "in a concert hall", "at a wedding"],
    "market": ["buying fruit", "selling flowers", "weighing vegetables", "choosing fish", "carrying a basket of apples"],
    "stalls": ["at a market", "at a small stall", "in a busy street", "under a striped awning", "in a grocery store"],
    "dog": ["a {fur} dog", "a small {fur} dog", "a large {fur} dog", "two dogs", "a puppy"],
    "fur": ["brown", "black", "white", "spotted", "gray"],
    "dogs_do": ["chasing a ball", "catching a frisbee", "carrying a stick", "running", "sleeping", "digging a hole"],
    "cat": ["a {fur} cat", "a small {fur} cat", "a {fur} kitten", "two cats"],
    "cats_do": ["sleeping", "sitting", "playing with a ball of wool", "washing a paw", "hiding", "stretching"],
    "indoors": ["on a bed", "on a windowsill", "under a table", "on a sofa", "in a cardboard box", "next to a laptop"],
    "herd": ["two {fur} horses", "a herd of cows", "a flock of sheep", "a {fur} cow", "three goats", "a {fur} horse"],
    "graze": ["grazing", "standing", "eating grass", "resting", "walking", "drinking water"],
    "meadow": ["in a green field", "behind a wooden fence", "on a grassy hill", "next to a red barn", "beside a stream"],
    "wild": ["an elephant", "two elephants", "a giraffe", "three giraffes", "a herd of zebras", "a zebra", "a lion"],
    "roam": ["walking", "standing", "drinking water", "resting", "crossing a dirt road", "looking at the camera"],
    "savanna": ["in tall grass", "near a water hole", "under a lone tree", "on a dry plain", "next to a rock"],
    "bird": ["a duck", "two ducks", "a swan", "a {fur} bird", "a flock of birds", "a seagull"],
    "birds_do": ["swimming", "landing", "flying low", "looking for food", "resting", "spreading its wings"],
    "water": ["on a lake", "on a quiet river", "in a harbor", "near a wooden pier", "under a bridge"],
    "vehicle": ["a {color} bus", "a {color} car", "a {color} truck", "a {color} taxi", "a police car", "a fire truck"],
    "street": [
        "in a narrow street", "on a country road", "on a stone bridge", "in a small village", "in front of a church",
        "near a railway station", "next to a tall building",
    ],
    "drive": ["driving", "turning", "waiting at a traffic light", "parked", "stopping"],
    "boat": ["a {color} boat", "a small sailboat", "a fishing boat", "two boats", "a large ship", "a {color} canoe"],
    "float": ["floating", "sailing", "resting", "turning", "moored"],
    "food": [
        "a pizza with mushrooms", "a bowl of soup", "a plate of pasta", "a chocolate cake", "a sandwich with cheese",
        "a bowl of fruit", "a plate of grilled fish", "a salad with tomatoes",
    ],
    "served": ["cooling", "served with bread", "next to a cup of coffee", "next to a glass of juice", "ready to eat"],
    "table": ["on a wooden table", "on a white plate", "on a kitchen counter", "on a checkered tablecloth", "in a cafe"],
}  # fmt: skip

MESSAGES = {
    "delivery": ["{hello}{late}{bye}", "{hello}{late} {urgent}{bye}"],
    "late": [
        "where is my {thing}?", "my {thing} has not arrived yet.", "the {thing} should have been here {past}.",
        "can you deliver the {thing} {day}?", "the parcel with the {thing} is {count} days late.",
        "the courier left my {thing} {place}.", "please send the {thing} to my office instead.",
        "tracking has shown nothing new for {count} days.", "how long does delivery of the {thing} take?",
    ],
    "urgent": ["i need it {day}.", "it is a present.", "nobody has called me.", "i will be at home {day}.", "we leave {day}."],
    "payment": ["{hello}{paid}{bye}", "{hello}{paid} {money}{bye}"],
    "paid": [
        "i was charged {count} times for the {thing}.", "my {card} was declined.", "can i pay for the {thing} by {card}?",
        "please send me the invoice for the {thing}.", "the price of the {thing} is wrong on my bill.",
        "the discount code did not work for the {thing}.", "i paid for the {thing} {past}, but you ask for money again.",
        "can i pay for the {thing} in {count} installments?", "the amount taken from my {card} is too high.",
    ],
    "money": ["please check the amount.", "i have the receipt.", "my bank says all is well.", "i ordered it {past}."],
    "card": ["credit card", "debit card", "gift card", "bank transfer", "bank account"],
    "return": ["{hello}{back}{bye}", "{hello}{back} {reason}{bye}"],
    "back": [
        "i want to send the {thing} back.", "how do i return the {thing}?", "please exchange the {thing} for {other}.",
        "when do i get my money back for the {thing}?", "i sent the {thing} back {past}.", "i need a label to return the {thing}.",
        "can i return the {thing} in a shop?", "is it too late to return the {thing}?",
    ],
    "reason": [
        "it is too small.", "it is too large.", "it is not what i ordered.", "the color does not suit me.",
        "it was a present.", "i found a better one.", "i have not used it.", "it is still in its box.",
    ],
    "other": ["a larger one", "a smaller one", "a {color} one", "a new one"],
    "fault": ["{hello}{broken}{bye}", "{hello}{broken} {tried}{bye}"],
    "broken": [
        "the {thing} stopped working {past}.", "the {thing} arrived broken.", "a part of the {thing} is missing.",
        "the {thing} makes a strange noise.", "the {thing} does not turn on.", "there is a crack in the {thing}.",
        "the {thing} gets very hot.", "the {color} {thing} lost its color after {count} days.", "the manual of the {thing} is missing.",
    ],
    "tried": [
        "i have tried everything.", "i followed the manual.", "it is {count} weeks old.", "it still has a guarantee.",
        "can you repair it?", "please send me a new one.", "i can send you a photo.",
    ],
    "question": ["{hello}{ask}{bye}", "{hello}{ask} {why}{bye}"],
    "ask": [
        "do you have the {thing} in {color}?", "when will the {thing} be in stock again?", "how heavy is the {thing}?",
        "does the {thing} come with batteries?", "what is the {thing} made of?", "is the {thing} easy to clean?",
        "can i see the {thing} in a shop?", "which {thing} do you recommend for {who}?", "is the {color} {thing} waterproof?",
    ],
    "why": ["the page does not say.", "i could not find it on your site.", "i would buy {count}.", "it is for {who}."],
    "who": ["a child", "my father", "a small kitchen", "a beginner", "my office", "a long trip"],
    "praise": ["{hello}{glad}{signed}", "{hello}{glad} {more}{signed}"],
    "glad": [
        "the {thing} is wonderful.", "we love the {thing}.", "the {thing} came {early} than i thought.",
        "thank you for the quick repair of my {thing}.", "your {staff} was very kind.", "the {color} {thing} looks great.",
        "best {thing} i ever had.", "i have used the {thing} for {count} weeks and i am happy with it.",
    ],
    "more": ["i will order again.", "my friends want one too.", "five stars from me.", "well done.", "please keep it up."],
    "early": ["earlier", "sooner", "faster"],
    "staff": ["driver", "support", "team", "shop in town"],
    "hello": ["", "", "", "hello, ", "hi, ", "good morning, ", "dear team, "],
    "bye": ["", "", "", " thank you.", " thanks.", " kind regards.", " please reply soon."],
    "signed": ["", "", " thank you.", " kind regards."],
    "thing": [
        "lamp", "coffee machine", "jacket", "backpack", "keyboard", "bicycle", "tent", "chair", "desk", "watch", "camera",
        "kettle", "radio", "phone case", "pair of shoes", "printer", "toaster", "blanket", "mirror", "suitcase",
    ],
    "color": ["red", "blue", "green", "black", "white", "yellow"],
    "count": ["two", "three", "four", "five"],
    "past": ["yesterday", "last week", "on monday", "on friday", "two days ago", "a month ago"],
    "day": ["tomorrow", "on saturday", "this week", "before friday", "next monday", "by the weekend"],
    "place": ["at the wrong house", "in the rain", "with a neighbor", "at the gate", "in front of the garage"],
}  # fmt: skip
LABELS = ["delivery", "fault", "payment", "praise", "question", "return"]


def written(grammar: dict[str, list[str]], start: str, count: int, draw: random.Random) -> list[str]:
    """`count` different texts of a grammar."""
    texts: dict[str, None] = {}
    while len(texts) < count:
        text = "{" + start + "}"
        while "{" in text:
            text = re.sub(r"{(\w+)}", lambda name: draw.choice(grammar[name[1]]), text)
        texts[re.sub(r"\ba (?=[aeiou])", "an ", text)] = None
    return list(texts)


def captions(count: int = 2000) -> bytes:
    return "".join(f"{text}\n" for text in written(CAPTIONS, "caption", count, random.Random(SEED))).encode()


def messages(each: int = 300) -> bytes:
    draw = random.Random(SEED)
    rows = [(text, label) for label in LABELS for text in written(MESSAGES, label, each, draw)]
    draw.shuffle(rows)
    return table(["text", "label"], rows)


# -- files -------------------------------------------------------------------------------------------------------------


def table(header: Sequence[str | None], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def packed(content: bytes) -> bytes:
    """Compressed without a date, so that the same content makes the same file."""
    return gzip.compress(content, 9, mtime=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the originals are")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    original = {path.name: path for path in options.folder.rglob("*") if path.is_file()}
    images, labels = original["train-images-idx3-ubyte.gz"], original["train-labels-idx1-ubyte.gz"]
    files = {
        SHEET: clothes(images, labels),
        "people.csv.gz": packed(people(original["adult.data.gz"])),
        "taxi.csv.gz": packed(taxi(original["nyc_taxi.csv"])),
        "captions.txt.gz": packed(captions()),
        "messages.csv.gz": packed(messages()),
    }
    for name, content in files.items():
        (options.out / name).write_bytes(content)
        print(f"{len(content) / 1000:6.0f} kB  {name}")


if __name__ == "__main__":
    main()
