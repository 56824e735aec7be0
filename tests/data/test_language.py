"""Captions in other languages are found, and no English caption is lost."""

from __future__ import annotations

import csv
import gzip
import json
import os
import zipfile
from pathlib import Path

import pytest

from itm.data.clean.captions import other_language

OTHERS = [
    "Zwei Hunde spielen im Schnee mit dem Ball .",
    "Ein Mann mit Hut steht vor einem Haus",
    "Eine alte Frau sitzt auf der Bank und liest",
    "Un chien court dans l'herbe",
    "Une femme avec un chapeau rouge",
    "Deux hommes sont assis sur un banc",
    "Un perro corre por la hierba",
    "El ni\u00f1o est\u00e1 en la playa con su madre",
    "Um cachorro corre na grama",
    "Uma mulher com um chap\u00e9u vermelho",
    "Due uomini seduti su una panchina nel parco",
    "Il gatto dorme sotto la tavola",
    "Een hond rent door het gras",
    "Twee mannen zitten op een bank",
    "En hund springer p\u00e5 gr\u00e4set med en boll och ett ben",
    "\u0421\u043e\u0431\u0430\u043a\u0430 \u0431\u0435\u0436\u0438\u0442 \u043f\u043e \u0442\u0440\u0430\u0432\u0435",
    "\u4e00\u53ea\u72d7\u5728\u8349\u5730\u4e0a\u5954\u8dd1",
    "\u72ac\u304c\u8349\u306e\u4e0a\u3092\u8d70\u308b",
    "\u0643\u0644\u0628 \u064a\u062c\u0631\u064a \u0639\u0644\u0649 \u0627\u0644\u0639\u0634\u0628",
    "\u0395\u03bd\u03b1\u03c2 \u03c3\u03ba\u03cd\u03bb\u03bf\u03c2 \u03c4\u03c1\u03ad\u03c7\u03b5\u03b9",
]

ENGLISH = [
    "",
    "Dog",
    "2",
    "!?",
    "dogs playing",
    "Two men cycle in the Tour de France",
    "A man in Los Angeles eats at El Pollo del Mar",
    "Cirque du Soleil performers in Las Vegas",
    "A caf\u00e9 with cr\u00e8me br\u00fbl\u00e9e on the table",
    "A sign that says \u51fa\u53e3 above the door of a station",
    "People in front of La Sagrada Familia de los Reyes in the city",
    "A van with a den of foxes and a com tower",
    "A street sign reads rue des Martyrs",
]


@pytest.mark.parametrize("text", OTHERS)
def test_other_languages(text):
    assert other_language(text)
    assert other_language(text.upper())


@pytest.mark.parametrize("text", ENGLISH)
def test_english_stays(text):
    assert not other_language(text)


@pytest.mark.real
@pytest.mark.skipif(not os.environ.get("ITM_MIRROR"), reason="ITM_MIRROR is not set")
def test_no_real_caption_is_lost():
    """95,000 captions of Flickr8k and COCO, all of them English."""
    mirror = Path(os.environ["ITM_MIRROR"])
    with zipfile.ZipFile(mirror / "flickr8k-224/Flickr8k_text.zip") as archive:
        lines = archive.read("Flickr8k.token.txt").decode().splitlines()
    texts = [line.split("\t")[1] for line in lines]
    with gzip.open(mirror / "coco/captions_val2017.json.gz") as file:
        texts += [row["caption"] for row in json.load(file)["annotations"]]
    with gzip.open(mirror / "coco/karpathy_captions.csv.gz", "rt", encoding="utf-8", newline="") as file:
        texts += [row["original_caption"] for row in csv.DictReader(file)]
    assert len(texts) > 90_000
    assert [text for text in texts if other_language(text)] == []
