"""Make the project's two Python environments from their locks, on a machine that has nothing but a Python.

    python3 include/laptop/bootstrap.py            (what `make setup` calls)
    python3 include/laptop/bootstrap.py --peers    (what `make simulate ARGS=--peers` calls besides)

`.venv` (Python 3.12) is what Airflow's processes have on MWAA, `.venv-jobs` (Python 3.11) what the job containers have;
the peers are other people's monitoring tools, which the simulation is held against.
All come from hash-pinned locks through `uv`. A second call finds the stamp of a finished installation and ends at
once; an interrupted one is done again from the start.

Only the standard library is used and any Python from 3.8 on will do, because this file runs before anything is
installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

PROJECT = Path(__file__).resolve().parents[2]
UV_VERSION = "0.13.9"
STAMP = ".flywheel-stamp.json"
HEARTBEAT_SECONDS = 15


class BootstrapError(Exception):
    """Something that the user has to do first; the message says what."""


class Environment(NamedTuple):
    """One virtual environment: its folder, the Python it needs, and the lock that fills it."""

    folder: str
    python: str
    lock: str
    purpose: str


ENVIRONMENTS = (
    Environment(".venv", "3.12", "include/laptop/airflow.lock", "Airflow, as on MWAA"),
    Environment(".venv-jobs", "3.11", "include/laptop/jobs.lock", "the jobs and the local AWS"),
)
PEERS = (
    Environment(".venv-evidently", "3.11", "include/simulate/evidently.lock", "Evidently, to compare with"),
    Environment(".venv-nannyml", "3.11", "include/simulate/nannyml.lock", "NannyML, to compare with"),
)

# pip's settings, and what uv calls the same thing. uv reads neither pip's variables nor pip's files, and a user behind
# a company's mirror has usually configured pip only.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "no-index": "UV_NO_INDEX",
}


def say(message: str) -> None:
    """Print one progress line at once, also into a pipe."""
    print(message, flush=True)


def clean_environment() -> Dict[str, str]:
    """The environment of every command here: bytecode is compiled, and no outer environment leaks in.

    PYTHONDONTWRITEBYTECODE would make each `airflow` command compile 900 MB of packages again, which doubles its start.
    """
    env = dict(os.environ)
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT"):
        env.pop(name, None)
    env["UV_COMPILE_BYTECODE"] = "1"
    env["UV_NO_PROGRESS"] = env.get("UV_NO_PROGRESS", "" if sys.stderr.isatty() else "1")
    if not env["UV_NO_PROGRESS"]:
        del env["UV_NO_PROGRESS"]
    return env


def pip_settings(env: Dict[str, str]) -> Dict[str, str]:
    """pip's settings from its files and from PIP_* variables, by option name; the variables win.

    A Python without pip has no files to ask for; then the variables alone count.
    """
    found: Dict[str, str] = {}
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], env=env, capture_output=True, text=True, check=False
    )
    for line in listing.stdout.splitlines() if listing.returncode == 0 else ():
        match = re.match(r"(?:global|install)\.([\w-]+)='(.*)'$", line.strip())
        if match:
            found[match.group(1)] = match.group(2).replace("\\n", " ")
    for name, value in env.items():
        if name.startswith("PIP_") and value:
            found[name[4:].lower().replace("_", "-")] = value
    return found


def uv_settings(pip: Dict[str, str], env: Dict[str, str]) -> Dict[str, str]:
    """uv's variables that say what `pip` says, leaving alone what the user has set for uv (also as UV_INDEX_URL)."""
    aliases = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
    settings: Dict[str, str] = {}
    for option, variable in PIP_TO_UV.items():
        if option in pip and variable not in env and aliases.get(variable, variable) not in env:
            value = " ".join(pip[option].split())
            # uv takes several places to look in with commas, several indexes and hosts with blanks.
            settings[variable] = value.replace(" ", ",") if variable == "UV_FIND_LINKS" else value
    if "UV_INDEX" in settings:
        # pip looks for a version in all indexes, uv stops at the first that knows the name. The locks' hashes keep this
        # safe.
        settings["UV_INDEX_STRATEGY"] = env.get("UV_INDEX_STRATEGY", "unsafe-best-match")
    return settings


def python_version(executable: str) -> Optional[str]:
    """'3.12.1' for a Python that runs, None for one that does not (a pyenv shim of a version that is not active)."""
    try:
        answer = subprocess.run(
            [executable, "-c", "import sys, ssl; print('%d.%d.%d' % sys.version_info[:3])"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def python_candidates(wanted: str) -> Iterator[str]:
    """Where a Python `wanted` ('3.12') may be: this very one, PATH, pyenv's versions folder, the usual places."""
    yield sys.executable
    name = "python" + wanted
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry:
            yield str(Path(entry) / name)
            yield str(Path(entry) / "python3")
    roots = [os.environ.get("PYENV_ROOT"), "~/.pyenv", "/opt/pyenv", "/usr/local/pyenv"]
    for root in roots:
        versions = Path(root).expanduser() / "versions" if root else None
        if versions and versions.is_dir():
            # The newest patch first: 3.12.10 before 3.12.9.
            folders = [f for f in versions.iterdir() if re.match(re.escape(wanted) + r"\.\d+$", f.name)]
            for folder in sorted(folders, key=lambda f: int(f.name.rsplit(".", 1)[1]), reverse=True):
                yield str(folder / "bin" / name)
    usual = ["/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/opt/local/bin", "/opt/python/" + wanted + "/bin"]
    usual += ["/Library/Frameworks/Python.framework/Versions/" + wanted + "/bin", "~/.local/bin"]
    for place_name in usual:
        yield str(Path(place_name).expanduser() / name)


def find_python(wanted: str) -> Optional[str]:
    """The path of a working Python `wanted`, or None. A virtual environment's will do: uv goes back to its base."""
    tried = set()
    for candidate in python_candidates(wanted):
        if candidate in tried or not os.access(candidate, os.X_OK):
            continue
        tried.add(candidate)
        version = python_version(candidate)
        if version and version.startswith(wanted + "."):
            return candidate
    return None


def downloaded_python(uv: str, wanted: str, env: Dict[str, str]) -> str:
    """Let uv download Python `wanted`. Raises BootstrapError with what to do where that is not possible."""
    say(f"  no Python {wanted} found here; asking uv to download one")
    install = subprocess.run([uv, "python", "install", wanted], env=env, capture_output=True, text=True, check=False)
    found = subprocess.run([uv, "python", "find", wanted], env=env, capture_output=True, text=True, check=False)
    if found.returncode == 0 and python_version(found.stdout.strip()):
        return found.stdout.strip()
    reason = (install.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise BootstrapError(
        f"Python {wanted} is needed and was found neither on PATH, nor in pyenv's versions, nor in the usual places\n"
        f"and uv could not download one: {reason}\n"
        f"Install it (for instance `pyenv install {wanted}`, your system's package python{wanted}, or python.org's\n"
        f"installer), then run the same command again."
    )


def uv_version(executable: str) -> Optional[str]:
    """'0.13.9' for a uv that runs, else None."""
    try:
        answer = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    return words[1] if answer.returncode == 0 and len(words) > 1 else None


def find_uv(env: Dict[str, str]) -> str:
    """A uv of exactly UV_VERSION: from PATH, from .venv-uv, or installed into .venv-uv now with pip."""
    home = PROJECT / ".venv-uv"
    for candidate in (str(home / "bin" / "uv"), shutil.which("uv")):
        if candidate and uv_version(candidate) == UV_VERSION:
            return candidate
    say(f"  installing uv {UV_VERSION} into .venv-uv")
    problems: List[str] = []
    # A distribution's own python3 often comes without venv or pip; any other Python that is here will do as well.
    pythons = [sys.executable] + [p for p in (find_python("3.12"), find_python("3.11"), shutil.which("python3")) if p]
    for python in dict.fromkeys(pythons):
        shutil.rmtree(home, ignore_errors=True)
        for command in (
            [python, "-m", "venv", str(home)],
            [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv==" + UV_VERSION],
        ):
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                problems.append(f"  {' '.join(command)}\n    " + "\n    ".join(_last_lines(done.stdout + done.stderr)))
                break
        else:
            return str(home / "bin" / "uv")
    shutil.rmtree(home, ignore_errors=True)
    raise BootstrapError(
        f"uv {UV_VERSION} could not be installed. What was tried:\n" + "\n".join(problems) + "\n"
        "If venv or pip is missing, install your system's package for it (on Debian and Ubuntu: python3-venv).\n"
        "If the package index cannot be reached, check PIP_INDEX_URL and the proxy settings.\n"
        f"Or put uv {UV_VERSION} on PATH. Then run the same command again."
    )


def _last_lines(text: str, count: int = 4) -> List[str]:
    return [line for line in text.splitlines() if line.strip()][-count:] or ["(no output)"]


def wanted_stamp(environment: Environment, python: str) -> Dict[str, str]:
    """What a finished installation of `environment` is known by: the lock, the interpreter, uv and the place.

    The place counts because a virtual environment cannot be moved; the interpreter's own path and version count because
    an upgraded Python leaves a broken environment behind.
    """
    lock = (PROJECT / environment.lock).read_bytes()
    return {
        "lock_sha256": hashlib.sha256(lock).hexdigest(),
        "python": f"{os.path.realpath(python)} {python_version(python)}",
        "folder": str(PROJECT / environment.folder),
    }


def is_current(environment: Environment) -> bool:
    """Whether the environment is completely installed from the lock as it is now, with an interpreter that still
    runs."""
    folder = PROJECT / environment.folder
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == wanted_stamp(environment, str(folder / "bin" / "python")))


@contextlib.contextmanager
def heartbeat(what: str) -> Iterator[None]:
    """Say every quarter of a minute that `what` still goes on: compiling Airflow's bytecode alone takes a minute."""
    over = threading.Event()
    began = time.monotonic()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            say(f"  ... {what}, {time.monotonic() - began:.0f} s")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def install(environment: Environment, uv: str, env: Dict[str, str]) -> None:
    """Make `environment` whole. The stamp goes first and comes back last, so that no half installation is ever
    trusted."""
    folder = PROJECT / environment.folder
    own = str(folder / "bin" / "python")
    # Without a stamp nothing vouches for what is there: it may be half of an installation that was interrupted.
    whole = (folder / STAMP).exists() and (python_version(own) or "").startswith(environment.python + ".")
    if whole:
        say(f"{environment.folder}: bringing it up to the changed lock")
    else:
        python = find_python(environment.python) or downloaded_python(uv, environment.python, env)
        say(f"{environment.folder}: Python {python_version(python)} ({python}) for {environment.purpose}")
    with contextlib.suppress(FileNotFoundError):
        (folder / STAMP).unlink()
    began = time.monotonic()
    with heartbeat(f"installing {environment.folder}"):
        if not whole:
            shutil.rmtree(str(folder), ignore_errors=True)
            _run([uv, "venv", "--quiet", "--no-project", "--python", python, str(folder)], env, environment)
        sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", own]
        _run([*sync, environment.lock], env, environment)
    stamp = wanted_stamp(environment, own)
    with tempfile.NamedTemporaryFile("w", dir=str(folder), delete=False, encoding="utf-8") as file:
        json.dump(stamp, file, indent=1)
    os.replace(file.name, str(folder / STAMP))
    say(f"  done in {time.monotonic() - began:.0f} s")


def _run(command: List[str], env: Dict[str, str], environment: Environment) -> None:
    """Run one uv command in the project's folder, its messages going to the terminal."""
    done = subprocess.run(command, env=env, cwd=str(PROJECT), check=False)
    if done.returncode != 0:
        raise BootstrapError(
            f"{environment.folder} could not be installed from {environment.lock}: the command below ended with exit "
            f"code {done.returncode}, its reason is above.\n  {' '.join(command)}\n"
            "Where a package index cannot be reached, check PIP_INDEX_URL (or UV_DEFAULT_INDEX) and the proxies.\n"
            "Then run the same command again: it goes on from what is already downloaded."
        )


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Let a second bootstrap wait for the first one: both would write into the same folders."""
    (PROJECT / ".flywheel").mkdir(exist_ok=True)
    with open(str(PROJECT / ".flywheel" / "bootstrap.lock"), "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up of this project is running; waiting for it to end ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] = ()) -> int:
    """Bring every environment up to its lock, with ``--peers`` those of the peers instead.

    :return: the exit code: 0, 1 with a message, 2 for other arguments, or 130 after Ctrl-C
    """
    if list(arguments) not in ([], ["--peers"]):
        print("usage: bootstrap.py [--peers]; found: " + " ".join(arguments), file=sys.stderr)
        return 2
    environments = PEERS if arguments else ENVIRONMENTS
    try:
        if all(is_current(environment) for environment in environments):
            return 0
        with only_one():
            env = clean_environment()
            env.update(uv_settings(pip_settings(env), env))
            what = "the peers' environments" if arguments else "Flywheel's environments"
            say(f"Setting up {what} (once; a few minutes, mostly downloads and compiling)")
            uv = find_uv(env)
            for environment in environments:
                if not is_current(environment):
                    install(environment, uv, env)
        say("Environments are ready.")
    except BootstrapError as error:
        print(f"\nSet-up failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nSet-up was interrupted; run the same command again to finish it.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
