"""Hone's own API on the wire: what a body may hold, field by field, and what an answer holds. No work is done here."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from assistant.types import (
    Completion,
    CompletionRequest,
    CompletionResult,
    Draft,
    EditRequest,
    EditResult,
    ModelInfo,
    Snippet,
    Verdict,
)

MAX_TEXT = 8 * 2**20
"""Code points of a buffer. The server's limit on bytes is usually met first."""

MOST_FIELDS = 64
"""Of one body; more than any has."""

Offset = Annotated[int, Field(ge=0, le=MAX_TEXT)]
Span = Annotated[list[Offset], Field(min_length=2, max_length=2)]
StopText = Annotated[str, Field(min_length=1, max_length=256)]


class _Body(BaseModel):
    """Refuses fields that it does not know: a misspelt option is an error, not a default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, body: Any) -> Any:
        """What is wrong with each of a million names takes a minute to say."""
        if isinstance(body, dict) and len(body) > MOST_FIELDS:
            raise PydanticCustomError("too_many_fields", "has more fields than are known; /openapi.json lists those")
        return body


class SnippetBody(_Body):
    """Text from another place."""

    path: str = Field(max_length=4096, description="A label: the server opens no file.")
    text: str = Field(max_length=64 * 2**10)
    source: Literal["recent", "open", "definitions", "imports", "diagnostics"]


class CompleteBody(_Body):
    """The whole buffer and the hole in it. Only ``text`` and ``start`` are needed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "def add(a, b):\n    return \n", "start": 26, "filename": "add.py"},
                {
                    "text": "def add(a, b):\n    return \n",
                    "start": 26,
                    "language": "python",
                    "n": 3,
                    "budget_ms": 300,
                    "stream": True,
                },
            ]
        }
    )

    text: str = Field(max_length=MAX_TEXT, description="The whole buffer, exactly as the editor has it.")
    start: int = Field(ge=0, le=MAX_TEXT, description="Where the hole begins, in code points of the text.")
    end: int | None = Field(None, ge=0, le=MAX_TEXT, description="Where it ends; none: it has no width.")
    filename: str | None = Field(
        None, max_length=4096, description="Tells the language. A label: the server opens no file."
    )
    language: str | None = Field(None, max_length=64, description="Instead of what the file's name says.")
    n: int = Field(1, ge=1, le=64, description="Alternatives at most, best first.")
    max_tokens: int = Field(64, ge=1, le=4096, description="Longest answer in tokens.")
    budget_ms: float | None = Field(
        None,
        ge=1,
        le=3_600_000,
        allow_inf_nan=False,
        description="From the request's arrival; then the best draft so far is the answer.",
    )
    steps: int | None = Field(None, ge=1, le=1024, description="Denoising steps per canvas.")
    policy: str | None = Field(
        None,
        pattern="^[a-z_]{1,32}$",
        description='Which places are written in a step; "causal": one token after the other, by the same weights.',
    )
    lengths: int | None = Field(None, ge=1, le=64, description="Hole lengths that are tried side by side.")
    temperature: float = Field(0.0, ge=0, le=10, allow_inf_nan=False)
    top_p: float = Field(1.0, ge=0.01, le=1, allow_inf_nan=False)
    seed: int = Field(0, ge=0, le=2**63 - 1)
    one_line: bool | None = Field(None, description="Whether the answer ends with its line; none: as the text says.")
    stop: list[StopText] = Field([], max_length=16, description="Texts before which an answer ends.")
    extra: list[SnippetBody] = Field([], max_length=64, description="From other files, the most useful first.")
    document: str | None = Field(
        None, max_length=4096, description="A newer request of the same client for the same document replaces this one."
    )
    batch: bool = Field(default=False, description="Goes behind every request that somebody waits for.")
    request: str | None = Field(None, min_length=1, max_length=128, description="A name by which to cancel it.")
    stream: bool = Field(default=False, description="Answer with server-sent events: the draft after each step.")
    tokens_in_steps: bool = Field(default=True, description="Whether the events of the steps hold the draft's text.")

    def wanted(self) -> CompletionRequest:
        return CompletionRequest(
            text=self.text,
            start=self.start,
            end=self.end,
            filename=self.filename,
            language=self.language,
            n=self.n,
            max_tokens=self.max_tokens,
            budget_ms=self.budget_ms,
            steps=self.steps,
            policy=self.policy,
            lengths=self.lengths,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            one_line=self.one_line,
            stop=tuple(self.stop),
            extra=tuple(Snippet(one.path, one.text, one.source) for one in self.extra),
        )


class CancelBody(_Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"request": "typing-17"}]})

    request: str = Field(min_length=1, max_length=128, description="The name that the request was sent with.")


class EditBody(_Body):
    """Blocks of the buffer and a task to be done to each."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "text": 'def greet(name):\n    return "Hello, {}!".format(name)\n',
                    "blocks": [[0, 54]],
                    "task": "modernise",
                    "language": "python",
                },
                {
                    "text": "class Point(object):\n    def __init__(self, x):\n"
                    "        super(Point, self).__init__()\n        self.x = x\n",
                    "blocks": [[0, 105]],
                    "task": "modernise",
                    "filename": "point.py",
                },
            ]
        }
    )

    text: str = Field(max_length=MAX_TEXT, description="The whole buffer, exactly as the editor has it.")
    blocks: list[Span] = Field(
        min_length=1,
        max_length=4096,
        description="Start and end of each, in code points, in order; the whole lines around it are edited.",
    )
    task: str | None = Field(
        None,
        pattern="^[a-z-]{1,64}$",
        description='What to do: "fix", "modernise", "annotate", "document", "rename", or a kind of one of them.',
    )
    instruction: str | None = Field(
        None, max_length=4096, description="In free words, instead of a task: only where the status says `instruct`."
    )
    filename: str | None = Field(None, max_length=4096)
    language: str | None = Field(None, max_length=64)
    budget_ms: float | None = Field(None, ge=1, le=3_600_000, allow_inf_nan=False)
    document: str | None = Field(None, max_length=4096, description="As for a completion.")
    batch: bool = Field(default=False, description="Goes behind every request that somebody waits for.")
    request: str | None = Field(None, min_length=1, max_length=128, description="A name by which to cancel it.")

    def wanted(self) -> EditRequest:
        return EditRequest(
            text=self.text,
            task=self.task or "",
            blocks=tuple((start, end) for start, end in self.blocks),
            filename=self.filename,
            language=self.language,
            budget_ms=self.budget_ms,
            instruction=self.instruction,
        )


class TextEditOut(BaseModel):
    start: int
    end: int
    text: str = Field(description="Takes the place of text[start:end].")
    block: int = Field(description="Which of the blocks it is in.")
    gain: float | None = Field(
        description="Nats by which the lines around it become likelier; of an instruct model, the mean log confidence."
    )


class EditOut(BaseModel):
    """Small edits in order. With all of them the buffer parses at least as well as before."""

    edits: list[TextEditOut]
    reasons: list[str | None] = Field(
        description='Why a block has no edit: "right", "no gain", "no way back", "syntax", ...'
    )
    passes: int
    tokens: int
    ms: float
    model: str

    @classmethod
    def of(cls, result: EditResult, model: str) -> "EditOut":
        edits = [TextEditOut(**vars(one)) for one in result.edits]
        return cls(
            edits=edits,
            reasons=list(result.reasons),
            passes=result.passes,
            tokens=result.tokens,
            ms=result.ms,
            model=model,
        )


class CompletionOut(BaseModel):
    text: str = Field(description="Replaces text[start:end].")
    start: int
    end: int
    score: float | None = Field(description="The judge's; completions are ordered by it, best first.")
    confidence: float | None = Field(description="Mean probability of a token, 0 to 1.")
    verdict: Verdict = Field(description='Whether the syntax gate has checked it; what fails is never sent: "valid".')
    tokens: int
    origin: str = Field(description='Where it came from: "canvas", "repair", "trimmed", ...')
    chance: float = Field(description="Calibrated probability that it is exactly what was wanted; 1 where unknown.")
    stopped_by: str = Field(description="The stop text before which it ended, if one did.")


class CompleteOut(BaseModel):
    completions: list[CompletionOut]
    steps: int = Field(description="Denoising steps.")
    passes: int = Field(description="Forward passes of the model, all kinds.")
    timing_ms: dict[str, float]
    reason: str | None = Field(description="Why there is no completion.")
    context_tokens: int
    known_tokens: int = Field(description="How many of them were in the cache.")
    model: str

    @classmethod
    def of(cls, result: CompletionResult, model: str) -> "CompleteOut":
        return cls(
            completions=[_completion(one) for one in result.completions],
            steps=result.steps,
            passes=result.passes,
            timing_ms=result.timing_ms,
            reason=result.reason,
            context_tokens=result.context_tokens,
            known_tokens=result.known_tokens,
            model=model,
        )


class StepOut(BaseModel):
    """``event: step``. Steps that come faster than they are read are left out; the result never is."""

    index: int
    phase: str
    tokens: list[str | None] = Field(description="Text of each token of the hole; null where nothing is written yet.")
    confidence: list[float]

    @classmethod
    def of(cls, draft: Draft, *, with_tokens: bool) -> "StepOut":
        tokens = list(draft.tokens) if with_tokens else []
        return cls(index=draft.index, phase=draft.phase, tokens=tokens, confidence=list(draft.confidence))


class CancelOut(BaseModel):
    cancelled: bool


class ModelOut(BaseModel):
    name: str
    parameters: int
    context: int
    max_hole: int
    vocabulary: int
    device: str
    dtype: str
    loaded: bool
    edits: bool = Field(description="Whether blocks can be edited, by this model or by `edit_model`.")
    tasks: list[str] = Field(description="What can be done to them.")
    own_tasks: list[str] = Field(description="Those of them that it does itself though there is an `edit_model`.")
    edit_model: str | None = Field(description="Another model beside it that does all other edits.")
    edit_model_loaded: bool
    instruct: bool = Field(description="Whether instructions in free words are followed, by `instruct_model`.")
    instruct_model: str | None

    @classmethod
    def of(cls, model: ModelInfo) -> "ModelOut":
        lists = {"tasks": list(model.tasks), "own_tasks": list(model.own_tasks)}
        return cls(**asdict(model) | lists, edits=model.edits, instruct=model.instruct)


class LoadOut(BaseModel):
    waiting: int
    running: int
    cached_bytes: int
    loaded: bool
    batch_width: float
    edit_model_loaded: bool


class StatusOut(BaseModel):
    version: str
    pid: int
    uptime_s: float
    model: ModelOut | None
    model_error: str | None = Field(description="Why there is no model.")
    load: LoadOut
    empty: dict[str, int] = Field(description="The last empty answers, by reason.")


class ShutdownOut(BaseModel):
    stopping: Literal[True]


class ErrorDetail(BaseModel):
    message: str
    type: str


class ErrorOut(BaseModel):
    error: ErrorDetail


def _completion(one: Completion) -> CompletionOut:
    return CompletionOut(
        text=one.text,
        start=one.start,
        end=one.end,
        score=one.score,
        confidence=one.confidence,
        verdict=one.verdict,
        tokens=one.tokens,
        origin=one.origin,
        chance=one.chance,
        stopped_by=one.stopped_by,
    )
