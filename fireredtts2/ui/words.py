"""What the page says, in English and in Chinese."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Words:
    """Everything that is written on the page, in one language."""

    tag: str
    other_name: str
    other_path: str
    subtitle: str
    script: str
    script_hint: str
    example: str
    examples: dict[str, str]
    load_script: str
    voice_of: str
    seed: str
    seed_hint: str
    speed: str
    gap: str
    title: str
    options: str
    make: str
    stop: str
    listen_tab: str
    turn: str
    no_turn: str
    turn_text: str
    turn_speaker: str
    turn_pause: str
    again: str
    keep_text: str
    delete_turn: str
    project: str
    open_project: str
    new_work: str
    voices_tab: str
    add_voice: str
    clip: str
    voice_name: str
    clip_text: str
    clip_text_hint: str
    adapt: str
    adapt_hint: str
    add: str
    added: str
    library: str
    listen: str
    remove: str
    removed: str
    invent: str
    invent_hint: str
    invent_text: str
    invented: str
    hear_invented: str
    files: str
    stems: str
    play: str
    pause: str
    empty: str
    gone: str
    unreachable: str
    states: dict[str, str]
    nothing_to_say: str
    choose_voice: str
    choose_clip: str
    not_removable: str
    key: str
    key_hint: str
    enter: str
    wrong_key: str


EXAMPLES_EN = {
    "Two hosts": (
        "Anna: Welcome back to the show. Today we talk about the weather.\n"
        "Ben: Which is, for once, rather good.\n"
        "[pause:0.4s]\n"
        "Anna: You went to the sea, did you not?\n"
        "Ben: I did. The water was cold, and I would go again tomorrow."
    ),
    "Four at a table": (
        "[S1] Who is going to cook tonight?\n"
        "[S2] Not me, I cooked yesterday.\n"
        "[S3] I can make a soup, if somebody buys bread.\n"
        "[S4] I will get the bread. Do we need anything else?\n"
        "[S1] Some butter, please."
    ),
    "One voice": (
        "[S1] The house stood at the end of the road. Nobody had lived in it for years.\n"
        "[S1] One evening there was a light in the window."
    ),
}

ENGLISH = Words(
    tag="en",
    other_name="中文",
    other_path="zh/",
    subtitle="Write a conversation, choose the voices, and hear it while it is made.",
    script="Script",
    script_hint="A turn a line: Anna: Hello. or [S1] Hello. [pause:0.5s] is a silence. Up to "
    "four speakers.",
    example="Examples",
    examples=EXAMPLES_EN,
    load_script="Open a script",
    voice_of="Voice of speaker {}",
    seed="Seed",
    seed_hint="The same seed makes the same speech.",
    speed="Speed",
    gap="Silence between turns, s",
    title="Title",
    options="Options",
    make="Make and listen",
    stop="Stop",
    listen_tab="Studio",
    turn="Turn",
    no_turn="Choose a turn in the list to change it or to have it spoken again.",
    turn_text="Text",
    turn_speaker="Speaker",
    turn_pause="Silence before, s",
    again="Speak it again",
    keep_text="Keep for later",
    delete_turn="Delete the turn",
    project="Project",
    open_project="Open a project",
    new_work="Begin anew",
    voices_tab="Voices",
    add_voice="Add a voice",
    clip="A clip of 3 to 15 seconds, from a file or the microphone",
    voice_name="Name",
    clip_text="What is said in the clip",
    clip_text_hint="Word for word: the model learns the voice from both.",
    adapt="Sound more like the clip",
    adapt_hint="The model learns this voice, which takes about half a minute.",
    add="Add the voice",
    added="{} is in the library.",
    library="Library",
    listen="Listen",
    remove="Delete",
    removed="{} was deleted.",
    invent="Invent a voice",
    invent_hint="The model speaks a sentence in a voice of its own. Keep it if you like it.",
    invent_text="The morning was quiet, and a soft wind came in from the sea.",
    invented="Heard with seed {}. Give it a name to keep it.",
    hear_invented="Another one",
    files="Download",
    stems="Stems",
    play="Play",
    pause="Pause",
    empty="Nothing here yet",
    gone="This work is gone. Open its project file, or make it again.",
    unreachable="The studio does not answer. It is tried again; what was made is kept.",
    states={
        "idle": "Ready",
        "making": "Speaking",
        "waiting": "Waiting for a free place",
        "stopped": "Stopped",
        "failed": "Not finished",
    },
    nothing_to_say="Write something to say first.",
    choose_voice="Choose a voice for every speaker: {} has none.",
    choose_clip="Give a clip, a name, and the words that are said in it.",
    not_removable="{} came with the model and stays.",
    key="API key",
    key_hint="This server asks for a key.",
    enter="Enter",
    wrong_key="The server does not know this key.",
)

CHINESE = Words(
    tag="zh",
    other_name="English",
    other_path="../",
    subtitle="写下对话，选好声音，边生成边听。",
    script="脚本",
    script_hint="每行一句：Anna: Hello. 或 [S1] Hello. 用 [pause:0.5s] 表示停顿，最多四位说话人。",
    example="示例",
    examples=EXAMPLES_EN,
    load_script="打开脚本",
    voice_of="说话人 {} 的声音",
    seed="随机种子",
    seed_hint="种子相同，结果相同。",
    speed="语速",
    gap="句间停顿（秒）",
    title="标题",
    options="选项",
    make="生成并播放",
    stop="停止",
    listen_tab="工作室",
    turn="句子",
    no_turn="在列表中选一句，即可修改或重新生成。",
    turn_text="文本",
    turn_speaker="说话人",
    turn_pause="句前停顿（秒）",
    again="重新生成这一句",
    keep_text="稍后生成",
    delete_turn="删除这一句",
    project="项目",
    open_project="打开项目",
    new_work="新建",
    voices_tab="声音库",
    add_voice="添加声音",
    clip="3 到 15 秒的录音，可上传或用麦克风录制",
    voice_name="名称",
    clip_text="录音中说的话",
    clip_text_hint="请逐字填写：模型同时从文字和声音中学习。",
    adapt="让声音更像录音",
    adapt_hint="模型会学习这个声音，大约需要半分钟。",
    add="添加",
    added="{} 已加入声音库。",
    library="声音库",
    listen="试听",
    remove="删除",
    removed="{} 已删除。",
    invent="创造声音",
    invent_hint="模型用自己的声音说一句话，喜欢就留下。",
    invent_text="The morning was quiet, and a soft wind came in from the sea.",
    invented="种子 {}。起个名字即可保存。",
    hear_invented="换一个",
    files="下载",
    stems="分轨",
    play="播放",
    pause="暂停",
    empty="这里还没有内容",
    gone="找不到这个作品。请打开项目文件，或重新生成。",
    unreachable="工作室没有响应，正在重试；已生成的内容会保留。",
    states={
        "idle": "就绪",
        "making": "正在生成",
        "waiting": "正在排队",
        "stopped": "已停止",
        "failed": "未完成",
    },
    nothing_to_say="请先写一些要说的话。",
    choose_voice="请为每位说话人选择声音：{} 还没有。",
    choose_clip="请提供录音、名称和录音中的文字。",
    not_removable="{} 是模型自带的声音，不能删除。",
    key="API 密钥",
    key_hint="此服务器需要密钥。",
    enter="进入",
    wrong_key="密钥无效。",
)

WORDS: dict[Language, Words] = {"en": ENGLISH, "zh": CHINESE}
