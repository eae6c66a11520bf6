"""Errors of files and terminals: one readable sentence with what to do, whatever raises them; faults change nothing."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from digits import digits
from test_checksums import SMALL
from test_cli import ROOT, command, environment, invoke, told

from turnover.common.text import visible
from turnover.runs import cli
from turnover.runs.execute import execute
from turnover.runs.store import housekeeping

NUMBERS = [number for number in errno.errorcode if number != errno.EPIPE]


@pytest.mark.parametrize("number", NUMBERS, ids=[errno.errorcode[number] for number in NUMBERS])
def test_every_error_of_the_system_is_a_sentence_with_its_path(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    code, message = told(OSError(number, os.strerror(number), "/store/file"), capsys)
    assert code == 3
    assert message.startswith(f"failed: cannot use /store/file: {os.strerror(number)}; ")
    assert message.endswith("then the same command goes on")


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (OSError(errno.EIO, "", "/a", None, "/b"), "cannot use /a -> /b: Input/output error"),
        (OSError(errno.EIO, "", b"/caf\xe9"), "/caf\\xe9:"),
        (OSError(errno.EIO, "", "/caf\udce9"), "/caf\\xe9:"),
        (OSError(errno.ENAMETOOLONG, "", "/" + "x" * 4000), "xxx...: File name too long"),
        (OSError(errno.EIO, "", "/\x1b[2Jclear\r"), "/\\x1b[2Jclear\\r:"),
        (OSError("no number"), "no number"),
        (TimeoutError(), "TimeoutError"),
        (OSError(errno.EIO, ""), "cannot use standard output or a file"),
    ],
)
def test_any_name_can_be_said(error: OSError, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, message = told(error, capsys)
    assert (code, part in message) == (3, True), message
    assert len(message) < 600
    assert message == visible(message)


def test_a_name_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    outputs = tmp_path / os.fsdecode(b"caf\xe9")
    done = invoke(outputs, "train.py", "dataset=digits", "scale=smoke", "logger=none")
    assert (done.code, "caf\\xe9: a name that is no UTF-8" in done.err) == (2, True), done.err
    assert not outputs.exists()


def ends(main: object, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    monkeypatch.setattr(cli, "set_up_logging", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.end_with(main)  # type: ignore[arg-type]
    return ended.value.code


def test_programs_end_with_the_code_of_how_they_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert ends(interrupted, monkeypatch) == 130
    assert ends(lambda: 3, monkeypatch) == 3
    assert ends(lambda: None, monkeypatch) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_a_list_that_nobody_reads_to_its_end_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    list = command("runs.py", ["ls"])
    done = subprocess.run(list, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment(tmp_path))
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MANIFESTS = {
    "deep": "[" * 100_000,
    "digits": '{"seconds": ' + "9" * 400 + "}",
    "more digits": '{"seconds": ' + "9" * 10_000 + "}",
    "stage": '{"stage": "3"}',
    "screen": json.dumps({"status": "failed", "message": "\x1b[2J\x1b]0;title\x07 gone"}),
    "binary": "\x00\x01",
}


@pytest.fixture
def hostile(outputs: Path) -> Iterator[Path]:
    """A store with a good run among what nobody has written well."""
    execute(digits(*SMALL))
    runs = outputs / "runs"
    for name, content in MANIFESTS.items():
        (runs / name).mkdir()
        (runs / name / "manifest.json").write_text(content)
    for name in ("manifest.json", "config.yaml", "checksums.txt", "DONE", ".lock"):
        for kind in ("pipe", "device", "folder", "large", "bomb"):
            path = runs / f"{kind}-{name.strip('.')}" / name
            path.parent.mkdir()
            if name != "manifest.json":
                (path.parent / "manifest.json").write_text('{"status": "running"}')
            if name not in ("DONE", ".lock"):
                (path.parent / "DONE").touch()
            match kind:
                case "pipe":
                    os.mkfifo(path)
                case "device":
                    path.symlink_to("/dev/zero")
                case "folder":
                    path.mkdir()
                case "large":
                    path.touch()
                    os.truncate(path, 10**11)  # takes no room
                case "bomb":
                    path.write_text(BOMB)
    yield runs
    shutil.rmtree(runs)


def test_no_folder_of_the_store_hides_the_others(hostile: Path, outputs: Path) -> None:
    states = {found.folder.name: found.state for found in housekeeping.runs(thorough=True)}
    assert len(states) == len(list(hostile.iterdir()))
    assert list(states.values()).count("finished") == 1
    assert all(states[name] == "unreadable" for name in ("deep", "digits", "more digits", "stage", "binary"))
    for name, code in (("ls", 0), ("verify", 3)):
        done = invoke(outputs, "runs.py", name)
        assert (done.code, len(done.out.splitlines()) > len(MANIFESTS)) == (code, True), done.err
        assert visible(done.out) == done.out
    shown = invoke(outputs, "runs.py", "show", "screen")
    assert (shown.code, visible(shown.out)) == (0, shown.out)


@pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("cc"), reason="needs Linux and a compiler")
def test_faults_of_the_system_end_in_a_message_and_change_nothing() -> None:
    """A part of the table; the whole is a part of make stress."""
    given = [sys.executable, str(ROOT / "scripts" / "faults.py"), "--cases", "7"]
    done = subprocess.run(given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
