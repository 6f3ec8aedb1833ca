"""Texts name targets; what is wrong with a text is said in one sentence."""

from pathlib import Path

import pytest

from nas.errors import TargetError
from nas.latency import LocalTarget
from nas.latency.engine import OnnxRuntime
from nas.latency.openvino import OpenVino
from nas.latency.specs import absolute_spec, engine_of, open_target


def test_local_with_its_options() -> None:
    assert open_target("local").identity == LocalTarget().identity
    assert open_target("local", threads=2).identity == LocalTarget(2).identity
    assert open_target("local,threads=3", threads=2).identity == LocalTarget(3).identity
    assert open_target("local,precision=fp32").identity == LocalTarget().identity
    assert open_target("local,precision=int8,threads=2").identity == f"{LocalTarget(2).identity}, int8"
    expected = LocalTarget(engine=OpenVino(threads=2)).identity
    assert open_target("local,engine=openvino,threads=2").identity == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("local,threads=2", "local,threads=2"),
        ("tcp://pi:7000,token-file=t,threads=2", "tcp://pi:7000,token-file={here}/t,threads=2"),
        ("tcp://pi:7000,token-file=/t", "tcp://pi:7000,token-file=/t"),
        ("recorded:a/b.json", "recorded:{here}/a/b.json"),
        ("recorded:", "recorded:"),
    ],
)
def test_paths_are_made_absolute(
    text: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_spec(text) == found.format(here=tmp_path)
    assert absolute_spec(absolute_spec(text)) == absolute_spec(text)


def test_engines_by_name() -> None:
    assert engine_of("onnxruntime", 2).identity == OnnxRuntime(2).identity
    assert engine_of("openvino", 2).identity == OpenVino(2).identity
    with pytest.raises(TargetError, match="engine must be onnxruntime or openvino, but got 'tflite'; name"):
        engine_of("tflite", 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "phone",
        "Local",
        "local:",
        "local:0",
        "tcp:phone:7000",
        "ssh:me@board",
        "ssh://",
        "browser",
        "recorded:",
    ],
)
def test_a_text_that_names_no_target(text: str) -> None:
    forms = "local, tcp://HOST:PORT, ssh://USER@HOST, browser:NAME, recorded:FILE"
    with pytest.raises(TargetError, match=f"a target must be one of {forms}, but got '{text}'; name one"):
        open_target(text)


@pytest.mark.parametrize(
    "text",
    ["tcp://phone", "tcp://phone:", "tcp://:7000", "tcp://phone:http", "tcp://phone:0", "tcp://a:65536"],
)
def test_a_port_that_is_none(text: str) -> None:
    with pytest.raises(
        TargetError, match=f"port of 1 to 65535, but got '{text.removeprefix('tcp://')}'; give"
    ):
        open_target(text)


@pytest.mark.parametrize(
    ("text", "options", "got"),
    [
        ("local,thread=2", "threads, precision, engine", "thread=2"),
        ("local,", "threads, precision, engine", ""),
        ("local,token-file=t", "threads, precision, engine", "token-file=t"),
        ("local,token_file=t", "threads, precision, engine", "token_file=t"),
        ("tcp://phone:7000,port=1", "threads, precision, engine, token-file", "port=1"),
        ("ssh://me@board,token-file=t", "threads, precision, engine", "token-file=t"),
        ("browser:chromium,engine=openvino", "threads, precision", "engine=openvino"),
        ("recorded:t.json,threads=2", r"\(none\)", "threads=2"),
    ],
)
def test_an_option_that_is_not_there(text: str, options: str, got: str) -> None:
    with pytest.raises(TargetError, match=f"must be among {options}, but got '{got}'; leave it out"):
        open_target(text)


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ("threads", "threads must be at least 1, but got ''"),
        ("threads=0", "threads must be at least 1, but got '0'"),
        ("threads=-1", "threads must be at least 1, but got '-1'"),
        ("threads=two", "threads must be at least 1, but got 'two'"),
        ("threads=²", "threads must be at least 1, but got '²'"),
        ("precision=int4", "precision must be fp32 or int8, but got 'int4'"),
        ("engine=tflite", "engine must be onnxruntime or openvino, but got 'tflite'"),
    ],
)
@pytest.mark.parametrize("target", ["local", "tcp://phone:7000", "ssh://me@board"])
def test_a_value_that_cannot_be(target: str, option: str, rule: str) -> None:
    with pytest.raises(TargetError, match=rule):
        open_target(f"{target},{option}")


@pytest.mark.parametrize("content", [None, b"\xff"], ids=["missing", "binary"])
def test_a_token_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content:
        path.write_bytes(content)
    with pytest.raises(TargetError, match=r"token must be a readable file with the agent's token, but got: "):
        open_target(f"tcp://phone:7000,token-file={path}")
