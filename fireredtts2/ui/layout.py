"""What stands where on the page."""

from __future__ import annotations

import html
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from fireredtts2.script import MAX_PAUSE_S, SPEAKERS
from fireredtts2.ui.words import Words
from fireredtts2.ui.work import MAX_SPEED, MIN_SPEED

PAGE = Path(__file__).with_name("page")
DEFAULT_GAP_S = 0.2
PLAYER_WORDS = ("play", "pause", "empty", "gone", "unreachable", "states")


def masthead(words: Words) -> str:
    return (
        f'<header id="masthead"><h1>Fire<b>Red</b>TTS-2</h1><p>{html.escape(words.subtitle)}</p>'
        f'<a href="{words.other_path}" lang="{"zh" if words.tag == "en" else "en"}">'
        f"{words.other_name}</a></header>"
    )


def studio_tab(words: Words) -> SimpleNamespace:
    parts = SimpleNamespace()
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            parts.script = gr.Textbox(
                label=words.script,
                info=words.script_hint,
                value=next(iter(words.examples.values())),
                lines=9,
                max_lines=22,
                max_length=1_000_000,
                elem_id="script",
            )
            parts.example = gr.Radio(
                list(words.examples), label=words.example, value=None, elem_id="example"
            )
            with gr.Group():
                parts.cast = [
                    gr.Dropdown(
                        [],
                        label=words.voice_of.format(speaker),
                        visible=n < 2,
                        elem_id=f"voice-{speaker}",
                        allow_custom_value=False,
                        interactive=True,
                    )
                    for n, speaker in enumerate(SPEAKERS)
                ]
            with gr.Accordion(words.options, open=False):
                parts.title = gr.Textbox(label=words.title, max_length=200, elem_id="title")
                parts.seed = gr.Number(
                    label=words.seed, info=words.seed_hint, precision=0, value=7, elem_id="seed"
                )
                parts.speed = gr.Slider(
                    MIN_SPEED, MAX_SPEED, 1.0, step=0.05, label=words.speed, elem_id="speed"
                )
                parts.gap = gr.Slider(
                    0, 3, DEFAULT_GAP_S, step=0.05, label=words.gap, elem_id="gap"
                )
            with gr.Row():
                parts.make = gr.Button(words.make, variant="primary", elem_id="make", scale=3)
                parts.stop = gr.Button(words.stop, variant="stop", elem_id="stop", scale=1)
        with gr.Column(scale=6, min_width=320):
            parts.player = _player(words)
            parts.turn_id = gr.State(None)
            with gr.Group(visible=False, elem_id="turn") as editor:
                parts.turn_text = gr.Textbox(
                    label=words.turn_text, lines=2, max_length=20_000, elem_id="turn-text"
                )
                with gr.Row():
                    parts.turn_speaker = gr.Dropdown(
                        list(SPEAKERS), label=words.turn_speaker, elem_id="turn-speaker"
                    )
                    parts.turn_pause = gr.Number(
                        label=words.turn_pause, minimum=0, maximum=MAX_PAUSE_S, step=0.1
                    )
            with gr.Row(visible=False) as buttons:
                parts.again = gr.Button(words.again, variant="primary", elem_id="again")
                parts.keep = gr.Button(words.keep_text, elem_id="keep")
                parts.delete = gr.Button(words.delete_turn, elem_id="delete")
            parts.editor, parts.editor_buttons = editor, buttons
            parts.hint = gr.Markdown(words.no_turn, elem_id="turn-hint")
            with gr.Row():
                parts.open_project = gr.UploadButton(
                    words.open_project, file_types=[".firered"], elem_id="open-project"
                )
                parts.open_script = gr.UploadButton(
                    words.load_script,
                    file_types=[".txt", ".md", ".json"],
                    elem_id="open-script",
                )
                parts.new = gr.Button(words.new_work, elem_id="new")
    return parts


def _player(words: Words) -> gr.HTML:
    template = (PAGE / "player.html").read_text(encoding="utf-8")
    labels = {"@files": words.files, "@stems": words.stems, "@project": words.project}
    for mark, label in labels.items():
        template = template.replace(mark, html.escape(label))
    told = asdict(words)
    return gr.HTML(
        "",
        html_template=template,
        css_template=(PAGE / "player.css").read_text(encoding="utf-8"),
        js_on_load=(PAGE / "player.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="player",
        words={name: told[name] for name in PLAYER_WORDS},
    )


def voices_tab(words: Words) -> SimpleNamespace:
    parts = SimpleNamespace()
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            gr.Markdown(f"### {words.library}")
            parts.library = gr.Dropdown(
                [], label=words.library, elem_id="library", interactive=True
            )
            with gr.Row():
                parts.listen = gr.Button(words.listen, elem_id="listen")
                parts.remove = gr.Button(words.remove, variant="stop", elem_id="remove")
            parts.heard = gr.Audio(
                label=words.listen, interactive=False, autoplay=True, elem_id="heard", buttons=[]
            )
        with gr.Column(min_width=300):
            gr.Markdown(f"### {words.add_voice}")
            parts.clip = gr.Audio(
                label=words.clip,
                sources=["upload", "microphone"],
                type="filepath",
                elem_id="clip",
            )
            parts.name = gr.Textbox(label=words.voice_name, max_length=64, elem_id="voice-name")
            parts.text = gr.Textbox(
                label=words.clip_text, info=words.clip_text_hint, lines=2, elem_id="clip-text"
            )
            parts.adapt = gr.Checkbox(
                label=words.adapt, info=words.adapt_hint, elem_id="adapt-voice"
            )
            parts.add = gr.Button(words.add, variant="primary", elem_id="add-voice")
        with gr.Column(min_width=300):
            gr.Markdown(f"### {words.invent}\n{words.invent_hint}")
            parts.invent = gr.Button(words.hear_invented, elem_id="invent")
            parts.invented = gr.State(None)
            parts.invented_audio = gr.Audio(
                label=words.invent, interactive=False, autoplay=True, elem_id="invented", buttons=[]
            )
            parts.invented_note = gr.Markdown("")
            parts.invented_name = gr.Textbox(
                label=words.voice_name, max_length=64, elem_id="invented-name"
            )
            parts.keep_invented = gr.Button(words.add, elem_id="keep-invented")
    return parts
