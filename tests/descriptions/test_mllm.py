"""The captioner `mllm` with a tiny model of random weights, made here."""

from pathlib import Path

import pytest

from itm.data.images import ImageStore
from itm.data.tables import read_images
from itm.descriptions.asking import Hints, describe_by_asking
from itm.descriptions.mllm import VisionLanguageModel
from itm.descriptions.questions import pictures_of
from itm.errors import ModelError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat", "runs", "sits", "red", "blue", "on", "grass"]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> str:
    """A BLIP of a few thousand weights with its processor."""
    import torch
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    folder = tmp_path_factory.mktemp("model")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**size, "vocab_size": len(WORDS), "encoder_hidden_size": 16, "max_position_embeddings": 64}
    special = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    torch.manual_seed(0)
    config = BlipConfig(text_config=text | special, vision_config={**size, "image_size": 32, "patch_size": 16})
    BlipForConditionalGeneration(config).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(images, BertTokenizer(str(folder / "vocab.txt"))).save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
def test_a_model_describes_in_batches_and_goes_on_where_it_ended(small, options, model_folder, monkeypatch):
    images = read_images(small)
    store, pictures = ImageStore(small, images), pictures_of(images)[:7]
    prompt = {"captioner": "mllm", "model": model_folder, "prompt": " ", "missing": "zero", "maximum_tokens": 8}
    parameters = options(**prompt, batch_size=3)

    def describe(some):
        model = VisionLanguageModel(parameters, store, "cpu")
        return describe_by_asking(some, model, parameters, Hints(), Path("journal"))

    first, _ = describe(pictures[:4])
    asked = []
    say = VisionLanguageModel._say
    monkeypatch.setattr(VisionLanguageModel, "_say", lambda self, batch: asked.append(len(batch)) or say(self, batch))
    found, usage = describe(pictures)
    told = {one.image_id for one in first}
    assert sum(asked) == 7 - len(told)  # what was said is not asked again
    assert asked[0] <= 3
    assert [one for one in found if one.image_id in told] == first
    assert all(set((one.text or "").split()) <= set(WORDS) for one in found)
    assert usage.tokens_written > 0
    again, _ = describe(pictures)
    assert again == found


@pytest.mark.slow
def test_a_model_that_is_not_here_is_told(small, options, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    images = read_images(small)
    parameters = options(captioner="mllm", model="/no/such/model")
    model = VisionLanguageModel(parameters, ImageStore(small, images), "cpu")
    with pytest.raises(ModelError, match=r"describe\.model: '/no/such/model' cannot be loaded .* 'retrieved'"):
        describe_by_asking(pictures_of(images)[:1], model, parameters, Hints(), Path("journal"))
