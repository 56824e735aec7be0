"""Descriptions by a model that is shown the images: prompts, passes, and the journal of what it said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from itm.config.describe import DescribeParameters
from itm.descriptions.journal import FOLDER, Journal, key_of
from itm.descriptions.questions import Answer, Asked, Picture, Question
from itm.descriptions.records import Description
from itm.errors import ModelError, first_few, printable

log = logging.getLogger(__name__)

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Hints:
    """The captions that may stand in a prompt. own: training captions by image id; retrieved: text by image id."""

    own: Mapping[str, Sequence[str]] = field(default_factory=dict)
    retrieved: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Usage:
    """Tokens of all descriptions, whenever they were asked for, and their cost in the currency of the prices."""

    tokens_read: int = 0
    tokens_written: int = 0
    cost: float = 0.0


def prompt_version(parameters: DescribeParameters) -> str:
    """A short name for the prompts and the condition: it changes whenever they do."""
    passes = (
        parameters.prompt,
        parameters.condition,
        parameters.first_prompt if parameters.condition == "paper" else "",
    )
    return key_of(*passes)[:8]


def describe_by_asking(
    pictures: Sequence[Picture],
    model: Asked,
    parameters: DescribeParameters,
    hints: Hints,
    folder: Path = FOLDER,
    progress: Report | None = None,
) -> tuple[list[Description], Usage]:
    """A description of every picture by a model; each answer is kept in a journal as soon as it is there.

    A copy of an image (the same bytes, asked the same) is not asked about twice, and neither is an image whose answer
    is no description. Where that is so, or the model refuses an image for good, and `missing` is "zero", that image has
    no description.

    Raises:
        ModelError: images are left without a description. What was answered stays, and is not asked again.
    """
    version = prompt_version(parameters)
    own = hints.own if parameters.condition == "paper" else {}
    with Journal(folder / f"{_journal_name(model, parameters)}.jsonl") as journal:
        first: dict[str, str] = {}
        if parameters.condition == "paper":
            # outside training, the caption in the prompt is the model's own, so that no description knows the truth
            unseen = [picture for picture in pictures if picture.split != "train"]
            questions = {picture.image_id: [_question(picture, parameters.first_prompt, 0)] for picture in unseen}
            _ask(model, journal, questions, parameters, None)
            for picture in unseen:
                if said := _usable(journal, questions[picture.image_id][0]):
                    first[picture.image_id] = said
        captions = {
            picture.image_id: _captions(picture, parameters.condition, own, first, hints.retrieved)
            for picture in pictures
        }
        questions = {
            picture.image_id: [
                _question(picture, parameters.prompt.replace("{captions}", captions[picture.image_id]), seed)
                for seed in range(parameters.per_image)
            ]
            for picture in pictures
            if parameters.condition == "none" or captions[picture.image_id]
        }
        _ask(model, journal, questions, parameters, progress)
        descriptions: list[Description] = []
        asked: set[str] = set()
        for picture in pictures:
            kept = [_usable(journal, question) for question in questions.get(picture.image_id, ())]
            asked.update(question.key for question in questions.get(picture.image_id, ()))
            for position, text in enumerate(text for text in kept if text):
                descriptions.append(
                    Description(
                        picture.image_id,
                        picture.split,
                        position,
                        text,
                        model.name,
                        version,
                        _conditioned_on(picture, parameters.condition),
                    )
                )
        if parameters.condition == "paper":
            asked.update(_question(picture, parameters.first_prompt, 0).key for picture in pictures)
        found = [answer for key in sorted(asked) if (answer := journal.get(key))]
    read, written = (sum(answer.get(name, 0) for answer in found) for name in ("tokens_read", "tokens_written"))
    cost = (read * parameters.price_input + written * parameters.price_output) / 1e6
    log.info("%d descriptions; %d tokens read, %d written, cost %.2f", len(descriptions), read, written, cost)
    return descriptions, Usage(read, written, cost)


def _journal_name(model: Asked, parameters: DescribeParameters) -> str:
    return key_of(model.name, parameters.maximum_tokens, parameters.temperature)


def _question(picture: Picture, prompt: str, seed: int) -> Question:
    return Question(key_of(picture.sha256, prompt, seed), picture, prompt, seed)


def _captions(
    picture: Picture,
    condition: str,
    own: Mapping[str, Sequence[str]],
    first: Mapping[str, str],
    retrieved: Mapping[str, str],
) -> str:
    """The text that stands for {captions}, '' where there is none."""
    if condition == "retrieved":
        return retrieved.get(picture.image_id, "")
    if condition == "paper":
        return " ".join(own.get(picture.image_id, ())) if picture.split == "train" else first.get(picture.image_id, "")
    return ""


def _conditioned_on(picture: Picture, condition: str) -> str:
    if condition == "paper":
        return "gt_caption" if picture.split == "train" else "generated_caption"
    return "retrieved_caption" if condition == "retrieved" else "none"


def _ask(
    model: Asked,
    journal: Journal,
    questions: Mapping[str, Sequence[Question]],
    parameters: DescribeParameters,
    progress: Report | None,
) -> None:
    """Ask what the journal does not hold; keep every answer at once, whatever it is: it may have cost money.

    Raises:
        ModelError: questions are left ("descriptions-missing"), or answers are none ("bad-answers").
    """
    every = {question.key: question for asked in questions.values() for question in asked}
    left = [question for key, question in every.items() if journal.get(key) is None]
    if len(left) < len(every):
        log.info("%d of %d answers are in %s", len(every) - len(left), len(every), journal.path)
    failed: list[str] = []
    done = len(every) - len(left)
    for question, answer in model.answers(left):
        if isinstance(answer, Answer):
            kept = {name: value for name, value in asdict(answer).items() if name != "fault" or value}
            journal.add(question.key, {"image_id": question.picture.image_id, **kept})
            done += 1
            if progress:
                progress(done, len(every))
        elif answer.final and parameters.missing == "zero":
            log.warning("image %s: %s", question.picture.image_id, answer.reason)
        else:
            failed.append(f"{question.picture.image_id}: {answer.reason}")
    if failed:
        raise ModelError(
            f"{len(failed)} of {len(every)} descriptions are missing ({first_few(failed)}); {len(every) - len(failed)} "
            f"are kept in {journal.path}: run again, only those missing will be asked for",
            reason="descriptions-missing",
        )
    faults = {key: fault for key in every if (fault := (journal.get(key) or {}).get("fault"))}
    wrong = first_few([f"{every[key].picture.image_id}: {printable(str(fault))}" for key, fault in faults.items()])
    if faults and parameters.missing == "refuse":
        raise ModelError(
            f"{len(faults)} of {len(every)} answers are no descriptions ({wrong}); they are kept in {journal.path} and "
            "not asked for again: set describe.missing to 'zero' to go on without them, or ask (and pay) once more "
            f"after `sed -i '/\"fault\": /d' {journal.path}`",
            reason="bad-answers",
        )
    if faults:
        log.warning("%d of %d answers are no descriptions: %s", len(faults), len(every), wrong)


def _usable(journal: Journal, question: Question) -> str | None:
    """What a model said to a question, if it can be a description."""
    answer = journal.get(question.key)
    return None if answer is None or "fault" in answer else str(answer["text"])
