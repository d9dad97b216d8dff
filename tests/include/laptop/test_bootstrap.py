from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from laptop import bootstrap
from laptop.bootstrap import BootstrapError, Environment

THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment in a project of its own, whose lock pins nothing: the real uv installs it in a second."""
    monkeypatch.setattr(bootstrap, "PROJECT", tmp_path)
    (tmp_path / "some.lock").write_text("# nothing\n")
    made = Environment(".venv-test", THIS, "some.lock", "a test")
    monkeypatch.setattr(bootstrap, "ENVIRONMENTS", (made,))
    return made


@pytest.fixture(scope="module")
def uv() -> str:
    """The uv of the real project, which `make setup` has put there. Found before any test moves the project."""
    return bootstrap.find_uv(bootstrap.clean_environment())


def test_pip_settings_reach_uv() -> None:
    pip = {
        "index-url": "https://mirror.example/simple",
        "extra-index-url": "https://a.example/simple  https://b.example/simple",
        "find-links": "/wheels /more",
        "cert": "/etc/ca.pem",
        "timeout": "180",
    }
    assert bootstrap.uv_settings(pip, {}) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_HTTP_TIMEOUT": "180",
    }


def test_what_is_set_for_uv_wins_over_pip() -> None:
    pip = {"index-url": "https://pip.example", "cert": "/pip.pem"}
    around = {"UV_INDEX_URL": "https://uv.example", "SSL_CERT_FILE": "/uv.pem"}
    assert bootstrap.uv_settings(pip, around) == {}


def test_pip_variables_win_over_pip_files() -> None:
    env = {**bootstrap.clean_environment(), "PIP_INDEX_URL": "https://variable.example"}
    assert bootstrap.pip_settings(env)["index-url"] == "https://variable.example"


def test_bytecode_is_compiled_whatever_the_shell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    env = bootstrap.clean_environment()
    assert "PYTHONDONTWRITEBYTECODE" not in env
    assert env["UV_COMPILE_BYTECODE"] == "1"


def test_a_shim_that_does_not_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / f"python{THIS}"
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setattr(bootstrap, "python_candidates", lambda wanted: iter([str(shim), sys.executable]))
    assert bootstrap.find_python(THIS) == sys.executable


def test_pyenv_versions_are_looked_at_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("3.12.9", "3.12.10", "3.11.2", "3.12-dev"):
        (tmp_path / "versions" / version).mkdir(parents=True)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    found = [place for place in bootstrap.python_candidates("3.12") if place.startswith(str(tmp_path))]
    assert found == [str(tmp_path / "versions" / version / "bin" / "python3.12") for version in ("3.12.10", "3.12.9")]


def test_a_missing_python_is_an_error_that_says_what_to_do(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "find_python", lambda wanted: None)
    no_uv = tmp_path / "uv"
    no_uv.write_text("#!/bin/sh\necho 'no route to host' >&2\nexit 2\n")
    no_uv.chmod(0o755)
    with pytest.raises(BootstrapError, match=r"no route to host\n(.|\n)*pyenv install"):
        bootstrap.install(environment, str(no_uv), bootstrap.clean_environment())


@pytest.mark.slow
def test_an_installation_is_made_once_and_again_when_something_changed(environment: Environment, uv: str) -> None:
    env = bootstrap.clean_environment()
    folder = bootstrap.PROJECT / environment.folder
    assert not bootstrap.is_current(environment)
    bootstrap.install(environment, uv, env)
    assert bootstrap.is_current(environment)

    (bootstrap.PROJECT / environment.lock).write_text("# another nothing\n")
    assert not bootstrap.is_current(environment), "the lock has changed"
    bootstrap.install(environment, uv, env)
    assert bootstrap.is_current(environment)

    stamp = json.loads((folder / bootstrap.STAMP).read_text())
    (folder / bootstrap.STAMP).write_text(json.dumps({**stamp, "python": "/gone/python3 3.12.0"}))
    assert not bootstrap.is_current(environment), "the interpreter has changed"


@pytest.mark.slow
def test_an_interrupted_installation_is_done_again_from_the_start(environment: Environment, uv: str) -> None:
    half = bootstrap.PROJECT / environment.folder / "lib" / "left-over"
    half.mkdir(parents=True)
    bootstrap.install(environment, uv, bootstrap.clean_environment())
    assert bootstrap.is_current(environment)
    assert not half.exists()


@pytest.mark.slow
def test_a_failed_installation_leaves_no_stamp(environment: Environment, uv: str) -> None:
    (bootstrap.PROJECT / environment.lock).write_text("no-such-package-of-flywheel==1 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(BootstrapError, match=r"\.venv-test could not be installed from some\.lock"):
        bootstrap.install(environment, uv, {**bootstrap.clean_environment(), "UV_OFFLINE": "1"})
    assert not bootstrap.is_current(environment)


def test_the_peers_are_installed_only_when_they_are_asked_for(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (bootstrap.PROJECT / "peer.lock").write_text("# nothing\n")
    peer = Environment(".venv-peer", THIS, "peer.lock", "a comparison")
    monkeypatch.setattr(bootstrap, "PEERS", (peer,))
    installed: list[str] = []
    monkeypatch.setattr(bootstrap, "find_uv", lambda env: "uv")
    monkeypatch.setattr(bootstrap, "install", lambda made, uv, env: installed.append(made.folder))
    assert bootstrap.main() == 0 and installed == [environment.folder]
    assert bootstrap.main(["--peers"]) == 0 and installed == [environment.folder, ".venv-peer"]
    assert bootstrap.main(["--pears"]) == 2 and "found: --pears" in capsys.readouterr().err


def test_the_peers_locks_are_there_and_name_hashes_and_no_index() -> None:
    for peer in bootstrap.PEERS:
        lock = (bootstrap.PROJECT / peer.lock).read_text(encoding="utf-8")
        assert "--hash=sha256:" in lock and "://" not in lock
