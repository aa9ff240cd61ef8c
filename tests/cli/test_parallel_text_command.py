"""``ralr-viz data`` with parallel text."""

from __future__ import annotations


def test_import_and_list_commands_take_text(tmp_path, cli):
    (tmp_path / "in").mkdir()
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for language in ("en", "de"):
            (tmp_path / "in" / f"{split}.{language}").write_text(f"{split}\n" * count)
    done = cli("data", "import", "mine", "--from", tmp_path / "in", "--data", tmp_path).succeeded()
    assert "mine: 3 + 1 + 2 sentence pairs, en to de" in done.out
    listed = cli("data", "list", "--data", tmp_path).succeeded().out
    assert "ready    3 + 2 sentence pairs, en to de" in listed
    assert "absent   sentence pairs, en to nn; built at first use" in listed
    cli("data", "download", "multi30k", "--data", tmp_path).failed(2, "cannot be downloaded")
