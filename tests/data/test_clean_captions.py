"""The caption rules: hand-made cases, what must hold for any text, and a table with planted faults."""

from __future__ import annotations

import random
import unicodedata

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from itm.config.data import CleanParameters
from itm.data.clean.captions import clean_captions
from itm.data.clean.text import PLACEHOLDERS, fault, normalise, same_text

RULES = CleanParameters(
    maximum_words=20, minimum_letters=2, drop_repeated=True, language="any", train_side=0, strict_leaks=False
)

NORMALISED = {
    "A dog runs .": "A dog runs",
    "A dog runs . .": "A dog runs",
    "A dog runs.": "A dog runs.",
    "A  dog runs": "A dog runs",
    " A  dog \n runs\t": "A dog runs",
    "A dog\u00a0runs": "A dog runs",
    "A\u200b dog\ufeff runs": "A dog runs",
    "A dog\x00 ru\x07ns": "A dog runs",
    "line one\r\nline two": "line one line two",
    "man &amp; dog": "man & dog",
    "man &amp;amp; dog": "man & dog",
    "&quot;Stop&quot; sign": '"Stop" sign',
    "&#39;Stop&#x27; sign": "'Stop' sign",
    "AT&T sign": "AT&T sign",
    "a &unknown; thing": "a &unknown; thing",
    "``Stop'' sign": '"Stop" sign',
    "\u201cStop\u201d sign, man\u2019s hat": '"Stop" sign, man\'s hat',
    "cafe\u0301": "caf\u00e9",
    "Jap\u00e3o na\u00efve": "Jap\u00e3o na\u00efve",
    ".": ".",
    " .": ".",
    "": "",
    "\n\t ": "",
}


@pytest.mark.parametrize(("raw", "expected"), NORMALISED.items())
def test_normalise(raw, expected):
    assert normalise(raw) == expected


@given(st.text() | st.text("a .&;#'`\"\n\u0301\u200bamp"))
@example(" . .")
@example("&amp;amp;amp;")
@example("&#10;")
@example("e\u200b\u0301")
@example("`''`")
def test_normalising_twice_changes_nothing_and_leaves_nothing_odd(text):
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.strip()
    assert "  " not in once
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Cn") for character in once)
    assert unicodedata.is_normalized("NFC", once)


@given(st.text("abcdefgh ,.'\"", max_size=60).map(lambda text: " ".join(text.split())))
def test_plain_texts_stay_but_for_a_stray_stop(text):
    if "''" not in text and not text.endswith(" ."):
        assert normalise(text) == text


FAULTS = {
    "": "empty",
    "A": "too-short",
    "a!": "too-short",
    "7 8 9": "too-short",
    "ok": "",
    "Broken image.": "placeholder",
    "N/A": "",
    "none": "placeholder",
    "image not available": "placeholder",
    "A broken image on a wall": "",
    " ".join(["word"] * 20): "",
    " ".join(["word"] * 21): "too-long",
    "a" * 640: "",
    "a" * 641: "too-long",
    "12345 67890": "",
    "\u732b\u304c\u3044\u308b": "",
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.items())
def test_fault(text, expected):
    assert fault(text, 20, 2) == expected


def test_same_text():
    assert same_text("A dog, running!") == same_text(" a DOG running ")
    assert same_text("A dog") != same_text("A dogs")


def table(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Rows (image, split, text)."""
    frame = pd.DataFrame(rows, columns=["image_id", "split", "raw_text"])
    counted = range(len(frame))
    return frame.assign(caption_id=counted, position=0, level=-1, multiplicity=-1, source="f", row=counted)


def test_training_rows_are_rejected_and_evaluation_rows_are_not():
    rows = [
        (image, split, text)
        for image, split in (("i", "train"), ("j", "dev"), ("k", "test"))
        for text in ("A dog .", "a dog", "A", "", "broken image", "w " * 30, "fine &amp; good")
    ]
    found = clean_captions(table(rows), RULES)
    kept = found.table.groupby("split", sort=False)["text"].agg(list).to_dict()
    assert kept["train"] == ["A dog", "fine & good"]
    assert (
        kept["dev"] == kept["test"] == ["A dog", "a dog", "A", "", "broken image", ("w " * 30).strip(), "fine & good"]
    )
    assert found.rejected[["row", "reason", "image_id"]].values.tolist() == [
        [1, "repeated", "i"],
        [2, "too-short", "i"],
        [3, "empty", "i"],
        [4, "placeholder", "i"],
        [5, "too-long", "i"],
    ]
    assert found.rejected["text"].tolist()[0] == "a dog"
    assert found.figures["evaluation_flags"] == {
        "empty": 2,
        "placeholder": 2,
        "repeated": 2,
        "too-long": 2,
        "too-short": 2,
    }
    assert found.figures["normalised"] == {"dev": 3, "test": 3, "train": 3}
    assert found.figures["same_text_on_several_images"] == 21


def test_other_languages_only_where_asked_for():
    texts = ("A dog on grass", "Ein Hund auf der Wiese", "\u4e00\u53ea\u72d7", "")
    rows = [(image, split, text) for image, split in (("i", "train"), ("j", "test")) for text in texts]
    assert clean_captions(table(rows), RULES).figures["rejected"] == {"empty": 1}
    english = clean_captions(table(rows), RULES.model_copy(update={"language": "english"}))
    assert english.table["text"].tolist() == ["A dog on grass", *texts]
    assert english.rejected["reason"].tolist() == ["other-language", "other-language", "empty"]
    assert english.figures["evaluation_flags"] == {"empty": 1, "other-language": 2}


def test_the_first_of_repeated_captions_stays():
    rows = [("i", "train", "A cat"), ("j", "train", "A cat"), ("i", "train", "a cat."), ("i", "train", "A cat !")]
    found = clean_captions(table(rows), RULES)
    assert found.table["caption_id"].tolist() == [0, 1]
    loose = RULES.model_copy(update={"drop_repeated": False})
    assert len(clean_captions(table(rows), loose).table) == 4
    assert clean_captions(table(rows), loose).figures["rejected"] == {}


def test_a_rejected_caption_is_not_what_another_repeats():
    rows = [("i", "train", "N"), ("i", "train", "n"), ("i", "train", "A dog")]
    assert clean_captions(table(rows), RULES).rejected["reason"].tolist() == ["too-short", "too-short"]


def test_no_rows():
    found = clean_captions(table([]), RULES)
    assert (len(found.table), len(found.rejected)) == (0, 0)


def test_placeholders_are_in_the_form_they_are_compared_in():
    assert all(text == same_text(text) for text in PLACEHOLDERS)


@pytest.mark.parametrize("seed", range(3))
def test_every_planted_fault_is_found_and_no_good_row_lost(seed):
    rng = random.Random(seed)
    rows, expected = [], {}
    for image in range(300):
        split = rng.choice(["train", "train", "test"])
        first = f"a {rng.choice(['red', 'blue'])} dog number {image}"
        rows.append((f"i{image}", split, first))
        plants = {
            "empty": " \n ",
            "too-short": rng.choice("abc"),
            "placeholder": "Broken Image",
            "too-long": "long " * 25,
            "repeated": first.upper() + " .",
        }
        for reason in rng.sample(list(plants), rng.randint(0, 2)):
            if split == "train":
                expected[len(rows)] = reason
            rows.append((f"i{image}", split, plants[reason]))
        rows.append((f"i{image}", split, f"another good caption of {image}"))
    found = clean_captions(table(rows), RULES)
    assert dict(zip(found.rejected["row"], found.rejected["reason"], strict=True)) == expected
    assert sorted([*found.table["row"], *found.rejected["row"]]) == list(range(len(rows)))
