"""The page: which event is whose."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.script import SPEAKERS, parse_script
from fireredtts2.ui.desk import Desk
from fireredtts2.ui.hands import Edit, Form, Hands, default_cast, player_value
from fireredtts2.ui.layout import masthead, studio_tab, voices_tab
from fireredtts2.ui.production import Production
from fireredtts2.ui.words import WORDS, Language

#: Where the browser keeps the name of its work, so that it is there again after a reload.
STORAGE_KEY = "fireredtts2_studio_work"
#: Nothing here is for other programs: they have the API.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
SLOW: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}


def build_page(desk: Desk, address: str, language: Language) -> gr.Blocks:
    """The page in one language.

    Args:
        desk: of the works.
        address: of the server that speaks.
        language: of everything written on it.
    """
    words = WORDS[language]
    hands = Hands(desk, address, words)
    with gr.Blocks(
        title="FireRedTTS-2", analytics_enabled=False, delete_cache=(600, 3_600)
    ) as blocks:
        gr.HTML(masthead(words), apply_default_css=False)
        token = gr.BrowserState("", storage_key=STORAGE_KEY, secret=STORAGE_KEY)
        with gr.Tabs():
            with gr.Tab(words.listen_tab, id="studio"):
                studio = studio_tab(words)
            with gr.Tab(words.voices_tab, id="voices"):
                voices = voices_tab(words)
        _wire_studio(blocks, hands, token, studio, voices)
        _wire_turn(hands, token, studio)
        _wire_voices(hands, studio, voices)
    blocks.queue(default_concurrency_limit=16, max_size=200)
    return blocks


# --- Which event is whose -----------------------------------------------------------------------


def _form(args: tuple[Any, ...]) -> Form:
    script, *cast, seed, speed, gap_s, title = args
    return Form(script or "", tuple(cast), seed, speed, gap_s, title or "")


def _wire_studio(
    blocks: gr.Blocks,
    hands: Hands,
    token: gr.BrowserState,
    studio: SimpleNamespace,
    voices: SimpleNamespace,
) -> None:
    words = hands.words
    fields = [
        studio.script, *studio.cast, studio.seed, studio.speed, studio.gap, studio.title
    ]  # fmt: skip
    shown = [token, *fields, studio.player]

    def cast_of(text: str) -> list[dict[str, Any]] | None:
        """Who speaks; None for a script that is not right yet."""
        try:
            script = parse_script(text or "")
        except ValueError:
            return None
        here = {turn.speaker for turn in script}
        labels = {s: f"{script.names[s]} · {s}" if s in script.names else s for s in SPEAKERS}
        return [{"visible": s in here, "label": words.voice_of.format(labels[s])} for s in SPEAKERS]

    def typed(text: str) -> list[Any]:
        cast = cast_of(text)
        return [gr.skip()] * len(SPEAKERS) if cast is None else [gr.update(**one) for one in cast]

    def show(name: str, made: Production, choices: list[str] | None = None) -> list[Any]:
        work = made.work
        cast = cast_of(work.script) or [{} for _ in SPEAKERS]
        for speaker, one in zip(SPEAKERS, cast, strict=True):
            if choices is not None:
                one["choices"] = choices
            if speaker in work.voices and (choices is None or work.voices[speaker] in choices):
                one["value"] = work.voices[speaker]
        return [
            name, work.script, *(gr.update(**one) for one in cast), work.seed, work.speed,
            work.gap_s, work.title, player_value(name),
        ]  # fmt: skip

    def load(name: str, script: str, request: gr.Request) -> list[Any]:
        names = [voice["name"] for voice in hands.voices(request)]
        library = gr.update(choices=names, value=names[0] if names else None)
        found = hands.found(name)
        if found is not None and found[1].work.turns:
            return [*show(*found, choices=names), library]
        cast = cast_of(script) or [{} for _ in SPEAKERS]
        for one, voice in zip(cast, default_cast(names), strict=True):
            one |= {"choices": names, "value": voice}
        rest = [gr.skip()] * (len(shown) - 2 - len(SPEAKERS))
        return [name, gr.skip(), *(gr.update(**one) for one in cast), *rest, library]

    def make(name: str, *args: Any, request: gr.Request) -> tuple[str, str]:
        return hands.make(name, _form(args), request)

    def open_project(path: str) -> list[Any]:
        return show(*hands.open_project(path))

    blocks.load(load, [token, studio.script], [*shown, voices.library], **QUIET)
    studio.script.change(typed, [studio.script], studio.cast, **QUIET)
    studio.example.input(
        lambda name: words.examples[name], [studio.example], [studio.script], **QUIET
    )
    studio.make.click(_with_request(make), [token, *fields], [token, studio.player], **QUIET)
    studio.stop.click(hands.stop, [token], None, **QUIET)
    studio.open_project.upload(open_project, [studio.open_project], shown, **SLOW)
    studio.open_script.upload(hands.open_script, [studio.open_script], [studio.script], **SLOW)
    studio.new.click(
        lambda: ("", "", "", player_value("")),
        None,
        [token, studio.script, studio.title, studio.player],
        **QUIET,
    )


def _wire_turn(hands: Hands, token: gr.BrowserState, studio: SimpleNamespace) -> None:
    edited = [studio.turn_text, studio.turn_speaker, studio.turn_pause]
    here = [token, studio.turn_id, *edited]
    editor = [studio.editor, studio.editor_buttons, studio.hint]

    def shown(is_open: bool) -> list[Any]:
        return [
            gr.update(visible=is_open),
            gr.update(visible=is_open),
            gr.update(visible=not is_open),
        ]

    def pick(name: str, event: gr.EventData) -> list[Any]:
        turn = hands.turn(name, event.id)
        return [
            turn.id, turn.text, turn.speaker, turn.pause_s,
            *shown(True),
        ]  # fmt: skip

    def keep(name: str, id: int, *edit: Any) -> tuple[str, str]:
        return hands.keep(name, id, Edit(*edit))

    def again(name: str, id: int, *edit: Any, request: gr.Request) -> tuple[str, str]:
        return hands.again(name, id, Edit(*edit), request)

    def delete(name: str, id: int) -> list[Any]:
        script, player = hands.delete(name, id)
        return [script, player, *shown(False)]

    changed = [studio.script, studio.player]
    studio.player.pick(pick, [token], [studio.turn_id, *edited, *editor], **QUIET)
    studio.keep.click(keep, here, changed, **QUIET)
    studio.again.click(_with_request(again), here, changed, **QUIET)
    studio.delete.click(delete, [token, studio.turn_id], [*changed, *editor], **QUIET)


def _wire_voices(hands: Hands, studio: SimpleNamespace, voices: SimpleNamespace) -> None:
    words = hands.words
    everywhere = [*studio.cast, voices.library]

    def listed(request: gr.Request, chosen: str | None = None) -> list[Any]:
        names = [voice["name"] for voice in hands.voices(request)]
        library = chosen if chosen in names else (names[0] if names else None)
        return [
            *(gr.update(choices=names) for _ in SPEAKERS),
            gr.update(choices=names, value=library),
        ]

    def add(clip: str | None, name: str, text: str, adapt: bool, request: gr.Request) -> list[Any]:
        made = hands.add_voice(clip, name or "", text or "", request, adapt)
        gr.Info(words.added.format(made))
        return [*listed(request, made), None, "", ""]

    def remove(name: str | None, request: gr.Request) -> list[Any]:
        gone = hands.remove_voice(name, request)
        gr.Info(words.removed.format(gone))
        return listed(request)

    def invent(request: gr.Request) -> list[Any]:
        seed, samples = hands.invent(request)
        return [samples, (OUTPUT_RATE_HZ, samples), words.invented.format(seed)]

    def keep(samples: Any, name: str, request: gr.Request) -> list[Any]:
        made = hands.keep_invented(samples, name or "", request)
        gr.Info(words.added.format(made))
        return [*listed(request, made), ""]

    voices.listen.click(hands.listen, [voices.library], [voices.heard], **SLOW)
    voices.add.click(
        add,
        [voices.clip, voices.name, voices.text, voices.adapt],
        [*everywhere, voices.clip, voices.name, voices.text],
        **SLOW,
    )
    voices.remove.click(remove, [voices.library], everywhere, **SLOW)
    voices.invent.click(
        invent, None, [voices.invented, voices.invented_audio, voices.invented_note], **SLOW
    )
    voices.keep_invented.click(
        keep,
        [voices.invented, voices.invented_name],
        [*everywhere, voices.invented_name],
        **SLOW,
    )


def _with_request(call: Callable[..., Any]) -> Callable[..., Any]:
    """Gradio finds where the request goes by its type, and only among plain arguments."""

    def plain(request: gr.Request, *args: Any) -> Any:
        return call(*args, request=request)

    return plain
