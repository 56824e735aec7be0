"""Descriptions by a vision-language model of Hugging Face that runs here: Florence-2, MiniCPM-V, Qwen-VL, BLIP ..."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from itm.config.describe import DescribeParameters
from itm.data.images import ImageStore
from itm.descriptions.questions import Answer, Question, said
from itm.errors import ModelError

log = logging.getLogger(__name__)


class VisionLanguageModel:
    """Asks a model about pictures, batch by batch; see `itm.descriptions.questions.Asked`.

    A model with a chat template is asked in a conversation; one without gets the prompt as it is (Florence-2: a task
    token such as `<DETAILED_CAPTION>`), or the images alone where the prompt is one blank. bfloat16 on a GPU, float32
    elsewhere. Greedy at temperature 0; samples otherwise depend on what else is in the batch.

    Raises:
        ModelError: the model is not here and cannot be fetched, or is no vision-language model.
    """

    def __init__(self, parameters: DescribeParameters, store: ImageStore, device: str) -> None:
        self.name = f"mllm:{parameters.model}{'@' * bool(parameters.model_revision)}{parameters.model_revision}"
        self._parameters, self._store, self._device = parameters, store, device
        self._model: Any = None
        self._processor: Any = None

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        """Each question with its answer, a batch after the other; the model is loaded when there is a question."""
        if questions and self._model is None:
            self._processor, self._model = load_vision_language_model(
                self._parameters.model, self._parameters.model_revision, self._device
            )
        ordered = sorted(questions, key=lambda question: (question.seed, len(question.prompt)))
        size = self._parameters.batch_size
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            for question, answer in zip(batch, self._say(batch), strict=True):
                yield question, said(*answer)

    @torch.inference_mode()
    def _say(self, batch: Sequence[Question]) -> list[tuple[str, int, int]]:
        """The text of each question with the tokens read and written."""
        pictures = [self._store.picture(question.picture.row) for question in batch]
        prompts = [question.prompt.strip() for question in batch]
        given: dict[str, Any] = {"images": pictures, "return_tensors": "pt"}
        if getattr(self._processor, "chat_template", None):
            given |= {"text": [self._conversation(prompt) for prompt in prompts], "padding": True}
            given["images"] = [[picture] for picture in pictures]
        elif any(prompts):
            given |= {"text": prompts, "padding": True}
        inputs = self._processor(**given).to(self._device)
        for key, value in inputs.items():
            if torch.is_tensor(value) and value.is_floating_point():
                inputs[key] = value.to(self._model.dtype)
        sampling: dict[str, Any] = {"do_sample": False}
        if self._parameters.temperature > 0:
            torch.manual_seed(batch[0].seed)
            sampling = {"do_sample": True, "temperature": self._parameters.temperature}
        found = self._model.generate(**inputs, max_new_tokens=self._parameters.maximum_tokens, **sampling).cpu()
        shown = inputs.get("input_ids")
        results = []
        for row, ids in enumerate(found):
            read = 0
            if shown is not None:
                prompt = shown[row].cpu()
                read = int(inputs["attention_mask"][row].sum()) if "attention_mask" in inputs else len(prompt)
                if len(ids) >= len(prompt) and torch.equal(ids[: len(prompt)], prompt):
                    ids = ids[len(prompt) :]  # a decoder repeats what it was given
            text = self._processor.decode(ids, skip_special_tokens=True)
            results.append((str(text), read, len(ids)))
        return results

    def _conversation(self, prompt: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        found: str = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        return found


def load_vision_language_model(name: str, revision: str, device: str) -> tuple[Any, Any]:
    """Processor and model of that name or folder, in evaluation mode; code of the model's makers is never run.

    Raises:
        ModelError: it is not here and cannot be fetched, or it is of another kind.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    options: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
    kind = torch.bfloat16 if device.startswith("cuda") else torch.float32
    try:
        processor = AutoProcessor.from_pretrained(name, **options)  # type: ignore[no-untyped-call]
        model = AutoModelForImageTextToText.from_pretrained(name, dtype=kind, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"describe.model: '{name}' cannot be loaded ({first}); give a folder with the weights or a name that the "
            "hub has (with network access), or use captioner 'retrieved', which needs neither",
            reason="weights-unavailable",
        ) from None
    if hasattr(processor, "tokenizer") and not model.config.is_encoder_decoder:
        processor.tokenizer.padding_side = "left"
    return processor, model.to(device).eval()  # type: ignore[arg-type]
