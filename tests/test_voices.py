"""Voice files and the library of them."""

import errno

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from fireredtts2.voices import Voice, VoiceLibrary, user_voices_path


def make_voice(name: str = "anna", **changes: object) -> Voice:
    values: dict[str, object] = {
        "name": name,
        "codes": torch.arange(24).reshape(8, 3) * 80,
        "text": "Hello – 你好.",
        "language": "en",
        "codec_id": "abc",
        "source_samples": 3_840,
    }
    return Voice(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def library(tmp_path) -> VoiceLibrary:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for name in ("anna", "boris", "clara"):
        make_voice(name).save(shipped / f"{name}.safetensors")
    return VoiceLibrary([tmp_path / "mine", shipped], codec_id="abc")


def test_voice_comes_back_as_saved(tmp_path):
    voice = make_voice()
    voice.save(tmp_path / "anna.safetensors")
    back = Voice.load(tmp_path / "anna.safetensors")
    assert back.codes.dtype == torch.int64
    assert torch.equal(back.codes, voice.codes)
    kept = ("name", "text", "language", "codec_id", "source_samples")
    assert all(getattr(back, field) == getattr(voice, field) for field in kept)
    assert (tmp_path / "anna.safetensors").stat().st_size < 1_000


def test_a_voice_keeps_its_clips_spectrum(tmp_path):
    spectrum = torch.randn(80)
    make_voice(spectrum=spectrum).save(tmp_path / "anna.safetensors")
    back = Voice.load(tmp_path / "anna.safetensors").spectrum
    assert back is not None
    assert torch.equal(back, spectrum)


def test_a_voice_keeps_its_adapter(tmp_path):
    adapter = {"up": torch.randn(7, 32).half().float(), "bias": torch.zeros(32)}
    path = tmp_path / "anna.safetensors"
    make_voice(adapter=adapter, decoder_id="abc").save(path)
    back = Voice.load(path)
    assert back.decoder_id == "abc"
    assert back.adapter is not None
    assert back.adapter.keys() == adapter.keys()
    assert all(torch.equal(back.adapter[name], one) for name, one in adapter.items())
    assert path.stat().st_size < 2 * (7 * 32 + 32) + 1_000  # in float16
    make_voice().save(path)
    assert Voice.load(path).adapter is None


@pytest.mark.parametrize(
    "adapter",
    [{}, {"up": torch.zeros(3, dtype=torch.long)}, {"up": torch.tensor([1.0, float("inf")])}],
    ids=["nothing", "whole numbers", "not finite"],
)
def test_an_adapter_is_checked(adapter: dict[str, torch.Tensor]):
    with pytest.raises(ValueError, match="voice 'anna': an adapter is tensors of finite numbers"):
        make_voice(adapter=adapter)


@pytest.mark.parametrize(
    "spectrum",
    [torch.zeros(80, 3), torch.zeros(1), torch.zeros(80, dtype=torch.long),
     torch.full((80,), float("nan"))],
    ids=["a picture", "one band", "whole numbers", "not a number"],
)  # fmt: skip
def test_a_spectrum_is_checked(spectrum: torch.Tensor):
    with pytest.raises(ValueError, match=r"voice 'anna': a spectrum is \(num_mels,\)"):
        make_voice(spectrum=spectrum)


def test_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("fireredtts2.weights.save_file", full)
    with pytest.raises(OSError, match=r"disk is full.*anna") as caught:
        make_voice().save(tmp_path / "anna.safetensors")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "a\\b", "x" * 65, "a\n"])
def test_bad_names(name, library):
    with pytest.raises(ValueError, match="letters, digits"):
        make_voice(name)
    with pytest.raises(ValueError, match="letters, digits"):
        library.get(name)


@pytest.mark.parametrize("name", ["a", "Anna-2_b.c", "Åsa", "小红"])
def test_good_names(name):
    assert make_voice(name).name == name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"codes": torch.zeros(8, 0, dtype=torch.int64)}, r"\(Q, T\) integers, not \(8, 0\)"),
        ({"codes": torch.zeros(8, dtype=torch.int64)}, r"\(Q, T\) integers"),
        ({"codes": torch.zeros(8, 3)}, "float32"),
        ({"codes": torch.full((8, 3), -1)}, "out of range"),
        ({"codes": torch.full((8, 3), 40_000)}, "out of range"),
        ({"text": "  "}, "transcript"),
    ],
)
def test_bad_voices(changes, says):
    with pytest.raises(ValueError, match=says):
        make_voice(**changes)


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "anna.safetensors"
    with pytest.raises(FileNotFoundError, match=r"anna\.safetensors"):
        Voice.load(path)
    make_voice().save(path)
    data = path.read_bytes()
    for damaged in (b"", data[:5], data[:-3], b"no voice at all" * 9):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"anna\.safetensors: a damaged voice file"):
            Voice.load(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="not a voice file"):
        Voice.load(path)


def test_metadata_is_checked(tmp_path):
    path = tmp_path / "anna.safetensors"
    codes = {"codes": torch.zeros(2, 3, dtype=torch.int16)}
    save_file(codes, path, metadata={"format": "fireredtts2-voice", "version": "2"})
    with pytest.raises(ValueError, match=r"version 2.*upgrade"):
        Voice.load(path)
    save_file(codes, path, metadata={"format": "fireredtts2-voice", "version": "1"})
    with pytest.raises(ValueError, match="without 'name'"):
        Voice.load(path)


def test_library_finds_its_voices(library):
    assert library.list() == ["anna", "boris", "clara"]
    assert library.get("boris").name == "boris"


def test_unknown_voice_suggests_and_lists(library, tmp_path):
    with pytest.raises(
        ValueError, match=r"'borris'; did you mean boris\? known voices: anna, boris, clara"
    ):
        library.get("borris")
    with pytest.raises(ValueError, match="known voices: none"):
        VoiceLibrary([tmp_path / "absent"]).get("anna")


def test_add_goes_to_the_users_folder_and_does_not_overwrite(library, tmp_path):
    path = library.add(make_voice("dora"))
    assert path == tmp_path / "mine" / "dora.safetensors"
    assert list((tmp_path / "mine").iterdir()) == [path]
    for taken in ("dora", "anna"):
        with pytest.raises(ValueError, match="there already"):
            library.add(make_voice(taken, text="Other."))
    library.add(make_voice("anna", text="Other."), overwrite=True)
    assert library.get("anna").text == "Other."
    library.remove("anna")
    assert library.get("anna").text == make_voice().text


def test_remove(library):
    library.add(make_voice("dora"))
    library.remove("dora")
    assert "dora" not in library.list()
    with pytest.raises(ValueError, match="came with the model"):
        library.remove("anna")
    with pytest.raises(ValueError, match="no voice 'dora'"):
        library.remove("dora")


def test_voice_of_another_codec_is_refused(library):
    library.add(make_voice("dora", codec_id="other"))
    with pytest.raises(ValueError, match=r"another codec \(other, in use: abc\).*voices add"):
        library.get("dora")
    library.add(make_voice("emil", codec_id=""))
    assert library.get("emil").codec_id == ""


def test_library_needs_a_folder():
    with pytest.raises(ValueError, match="at least one folder"):
        VoiceLibrary([])


def test_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FIREREDTTS2_VOICES", str(tmp_path))
    assert user_voices_path() == tmp_path
    monkeypatch.delenv("FIREREDTTS2_VOICES")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert user_voices_path() == tmp_path / "data" / "fireredtts2" / "voices"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_voices_path() == tmp_path / ".local" / "share" / "fireredtts2" / "voices"
