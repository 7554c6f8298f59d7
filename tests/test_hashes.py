"""hashes.py: the rules of the two generations of hashes, and a memory that never trusts a changed file."""

import hashlib
import json
import os
import threading

from lorabake import hashes
from lorabake.hashes import Hashes, HashMemory


def counted(monkeypatch) -> list[str]:
    """Names of the files that are really hashed from here on."""
    real, seen = hashes.sha256_file, []
    monkeypatch.setattr(hashes, "sha256_file", lambda path, **options: seen.append(path.name) or real(path, **options))
    return seen


def test_the_two_rules(tmp_path):
    path = tmp_path / "a.bin"
    content = os.urandom(0x100000 + 0x18000)
    path.write_bytes(content)
    assert hashes.sha256_file(path) == hashlib.sha256(content).hexdigest()
    assert hashes.sha256_file(path, skip=10) == hashlib.sha256(content[10:]).hexdigest()
    assert hashes.legacy_hash(path) == hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8]
    path.write_bytes(b"small")
    assert hashes.legacy_hash(path) == "e3b0c442"


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    seen = counted(monkeypatch)
    path = tmp_path / "bild ü.png"
    path.write_bytes(b"one")
    memory = HashMemory(tmp_path / ".cache" / "hashes.json")
    assert memory.of_picture(path).sha256 == memory.of_file(path).sha256 == hashlib.sha256(b"one").hexdigest()
    memory.save()
    again = HashMemory(memory.file)
    assert again.of_file(path).sha256 == hashlib.sha256(b"one").hexdigest() and seen == [path.name]
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert again.of_file(path).sha256 == hashlib.sha256(b"two").hexdigest() and len(seen) == 2
    os.utime(path, ns=(1, 2))
    again.of_file(path)
    assert len(seen) == 3


def test_decoded_is_remembered_for_this_state_only(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    memory = HashMemory(tmp_path / "hashes.json")
    assert not memory.of_picture(path).decoded
    memory.mark_decoded([path])
    memory.save()
    assert HashMemory(memory.file).of_picture(path).decoded
    path.write_bytes(b"other")
    assert not HashMemory(memory.file).of_picture(path).decoded


def test_a_model_has_both_hashes_and_a_folder_one(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"x" * 0x110000)
    memory = HashMemory(tmp_path / "hashes.json")
    found = memory.of_model(path)
    assert found == Hashes(hashes.sha256_file(path), hashes.legacy_hash(path)) and memory.file.exists()
    seen = counted(monkeypatch)
    assert HashMemory(memory.file).of_model(path) == found and seen == []
    folder = tmp_path / "model"
    for part in ("unet", "vae", "text_encoder"):
        (folder / part).mkdir(parents=True)
        (folder / part / "model.safetensors").write_bytes(part.encode())
    before = memory.of_model(folder)
    assert before.legacy == "" and len(before.sha256) == 64
    (folder / "vae" / "model.safetensors").write_bytes(b"another")
    assert memory.of_model(folder) != before


def test_a_damaged_memory_is_an_empty_one(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    for text in ("", "{", "[1]", '{"a": 3}', json.dumps({str(path): {"size": 3, "unknown": 1}})):
        (tmp_path / "hashes.json").write_text(text, encoding="utf-8")
        assert HashMemory(tmp_path / "hashes.json").of_file(path).sha256 == hashlib.sha256(b"one").hexdigest()


def test_saving_keeps_what_another_process_wrote(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    memories = [HashMemory(tmp_path / "hashes.json") for _ in paths]
    for path, memory in zip(paths, memories, strict=True):
        path.write_bytes(path.name.encode())
        memory.of_file(path)
    for memory in memories:
        memory.save()
    assert {key.rpartition(os.sep)[2] for key in json.loads(memories[0].file.read_text(encoding="utf-8"))} == {"a", "b"}


def test_two_threads_share_one_memory(tmp_path):
    memory = HashMemory(tmp_path / "hashes.json")
    files = [tmp_path / f"{n}.png" for n in range(60)]
    for file in files:
        file.write_bytes(file.name.encode())

    def work():
        for file in files:
            memory.of_file(file)
            memory.save()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(HashMemory(memory.file)._known) == 60


def test_a_fingerprint_sees_size_and_content(tmp_path):
    path = tmp_path / "a.safetensors"
    content = bytearray(os.urandom(3 * 2**20))
    path.write_bytes(content)
    first = hashes.fingerprint(path)
    assert hashes.fingerprint(path) == first
    content[-1] ^= 1
    path.write_bytes(content)
    second = hashes.fingerprint(path)
    path.write_bytes(content + b"\0")
    assert len({first, second, hashes.fingerprint(path)}) == 3


def test_the_legacy_hash_of_a_lora_is_made_without_writing_it(tmp_path):
    import torch
    from safetensors.torch import save

    tensors = {"a.lora_up.weight": torch.arange(400_000.0), "b.lora_up.weight": torch.ones(3)}
    own = {"ss_network_dim": "4", "ss_tag_frequency": "Grüße \n" * 10}
    serialised = save(tensors, own)
    start = 8 + int.from_bytes(serialised[:8], "little")
    path = tmp_path / "a.bin"
    path.write_bytes(b"another header" + serialised[start:])
    wanted = hashes.lora_hashes(serialised)["sshs_legacy_hash"]
    assert hashes.legacy_of_lora(serialised[:start], path, len(b"another header")) == wanted != "e3b0c442"
    # A header that reaches into the 64 KiB at 1 MiB, or over them.
    for length in (0x100000 + 100, 0x110000, 0x110000 + 50):
        head = os.urandom(length)
        whole = head + serialised[start:]
        assert hashes.legacy_of_lora(head, path, len(b"another header")) == hashlib.sha256(whole[0x100000:0x110000]).hexdigest()[:8]


def test_hashes_as_web_uis_show_them(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(5000))
    found = hashes.web_hashes(path, 100)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and found.auto_v2 == found.sha256[:10]
    assert found.data_sha256 == hashlib.sha256(path.read_bytes()[100:]).hexdigest() and found.auto_v3 == found.data_sha256[:12]
    assert hashes.web_hashes(path).auto_v3 == ""
