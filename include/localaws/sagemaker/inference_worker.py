"""The serving side of a framework container: loads a model once and answers `/ping` and `/invocations`.

Run as a script inside a job's container root. As in the framework images, the user's module is the one that
SAGEMAKER_PROGRAM names; without it the framework's defaults do everything. The module may define `model_fn`,
`input_fn`, `predict_fn` and `output_fn` (or `transform_fn` in place of the last three); what it leaves out is done as
the toolkits do it. The port is chosen by the system and written to the port file once the model is loaded, so that the
file means "ready".
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

CSV, JSON, NPY = "text/csv", "application/json", "application/x-npy"
TEXT_TYPES = frozenset({CSV, JSON, "application/jsonlines", "text/plain", "text/libsvm"})


class UnsupportedType(Exception):
    """The container cannot read this content type, or cannot write the accepted one."""


class Handlers:
    """The framework contract around one loaded model.

    :param module: the user's module, or None where the framework's defaults do everything
    :param framework: `xgboost` or `sklearn`, whose defaults stand in for missing functions
    :raises NotImplementedError: there is no model_fn, and the framework has no default way to load a model
    """

    def __init__(self, module: ModuleType | None, framework: str, model_dir: Path):
        self.framework = framework
        self._has_module = module is not None
        model_fn = getattr(module, "model_fn", None) or self._default_model_fn
        self.input_fn: Callable[..., Any] = getattr(module, "input_fn", None) or self._default_input_fn
        self.predict_fn: Callable[..., Any] = getattr(module, "predict_fn", None) or self._default_predict_fn
        self.output_fn: Callable[..., Any] = getattr(module, "output_fn", None) or default_output_fn
        self.transform_fn: Callable[..., Any] | None = getattr(module, "transform_fn", None)
        if self.transform_fn and any(getattr(module, name, None) for name in ("input_fn", "predict_fn", "output_fn")):
            raise ValueError("Cannot use transform_fn implementation with input_fn, predict_fn, and/or output_fn")
        self.model = model_fn(str(model_dir))

    def transform(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """One request through the contract: the answer's bytes and its content type."""
        media = content_type.split(";", 1)[0].strip().lower()
        data: str | bytes = body.decode("utf-8") if media in TEXT_TYPES else body
        if self.transform_fn:
            result = self.transform_fn(self.model, data, media, accept)
        else:
            result = self.output_fn(self.predict_fn(self.input_fn(data, media), self.model), accept)
        if isinstance(result, tuple):
            result, accept = result
        if isinstance(result, str):
            result = result.encode("utf-8")
        if not isinstance(result, bytes | bytearray):
            raise TypeError(
                f"output_fn must return str or bytes (or a pair with the type), not {type(result).__name__}"
            )
        return bytes(result), accept

    def _default_model_fn(self, model_dir: str) -> Any:
        unused = not self._has_module and Path(model_dir, "code").is_dir()
        hint = " (SAGEMAKER_PROGRAM is not set on the model's container, so its code/ is not used)" if unused else ""
        if self.framework != "xgboost" or self._has_module:
            raise NotImplementedError(f"Please provide a model_fn implementation.{hint}")
        import xgboost

        files = [path for path in Path(model_dir).iterdir() if path.is_file() and not path.name.startswith(".")]
        if len(files) != 1:
            names = sorted(path.name for path in files)
            raise RuntimeError(
                f"Unable to load the model: expected one booster file in model.tar.gz, found {names}{hint}"
            )
        booster = xgboost.Booster()
        booster.load_model(files[0])
        return booster

    def _default_input_fn(self, data: str | bytes, content_type: str) -> Any:
        array = decode(data, content_type)
        if self.framework != "xgboost":
            return array
        import xgboost

        return xgboost.DMatrix(array)

    def _default_predict_fn(self, data: Any, model: Any) -> Any:
        return model.predict(data, validate_features=False) if self.framework == "xgboost" else model.predict(data)


def decode(data: str | bytes, content_type: str) -> Any:
    """CSV, JSON or npy as a NumPy array of two dimensions (rows, columns)."""
    import numpy as np

    if content_type == CSV:
        text = data if isinstance(data, str) else data.decode("utf-8")
        rows = sum(1 for line in text.splitlines() if line.strip())
        return np.genfromtxt(io.StringIO(text), delimiter=",", dtype=float).reshape(rows, -1)
    if content_type == JSON:
        return np.atleast_2d(np.array(json.loads(data)))
    if content_type == NPY and isinstance(data, bytes):
        return np.load(io.BytesIO(data), allow_pickle=False)
    raise UnsupportedType(f"Content type {content_type} is not supported: expected {CSV}, {JSON} or {NPY}")


def default_output_fn(prediction: Any, accept: str) -> tuple[bytes, str]:
    """A prediction as CSV (one row per line), JSON or npy.

    :raises UnsupportedType: for any other accepted type
    """
    import numpy as np

    array, stream = np.asarray(prediction), io.BytesIO()
    if accept == CSV:
        np.savetxt(stream, array, delimiter=",", fmt="%s")
    elif accept == JSON:
        stream.write(json.dumps(array.tolist()).encode())
    elif accept == NPY:
        np.save(stream, array, allow_pickle=False)
    else:
        raise UnsupportedType(f"Accept type {accept} is not supported: expected {CSV}, {JSON} or {NPY}")
    return stream.getvalue(), accept


def load_module(code_dir: Path, program: str | None) -> ModuleType | None:
    """The user's inference module, or None where none was named.

    :raises FileNotFoundError: the named program is not in the code directory
    """
    if not program:
        return None
    if not (code_dir / program).is_file():
        raise FileNotFoundError(f"SAGEMAKER_PROGRAM is {program!r}, which is not in {code_dir}")
    sys.path.insert(0, str(code_dir))
    return importlib.import_module(program.removesuffix(".py").replace("/", "."))


def request_handler(handlers: Handlers, default_accept: str) -> type[BaseHTTPRequestHandler]:
    """The HTTP face of a loaded model."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two small writes, and the second must not wait for an ACK

        def do_GET(self) -> None:
            self._answer(200 if self.path == "/ping" else 404, b"", "text/plain")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/invocations":
                return self._answer(404, b"", "text/plain")
            accept = self.headers.get("Accept") or "*/*"
            accept = default_accept if accept == "*/*" else accept.split(";", 1)[0].strip()
            try:
                answer, content_type = handlers.transform(body, self.headers.get("Content-Type") or CSV, accept)
            except UnsupportedType as error:
                return self._answer(415, str(error).encode(), "text/plain")
            except Exception as error:  # the user's code may raise anything; the container answers 500 and lives on
                traceback.print_exc()
                return self._answer(500, f"{type(error).__name__}: {error}".encode(), "text/plain")
            self._answer(200, answer, content_type)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are not logged: a transform job makes thousands of them."""

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def leave_with_parent(parent: int) -> None:
    """Ends this process when the one that started it is gone, so that no server outlives a killed local AWS."""
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(2)
    os._exit(1)


def main(argv: list[str] | None = None) -> None:
    """Loads the model, then serves until the process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--code-dir", type=Path, required=True)
    parser.add_argument("--framework", choices=("xgboost", "sklearn"), required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    args = parser.parse_args(argv)

    threading.Thread(target=leave_with_parent, args=(os.getppid(),), daemon=True).start()
    module = load_module(args.code_dir, os.environ.get("SAGEMAKER_PROGRAM"))
    handlers = Handlers(module, args.framework, args.model_dir)
    accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or (CSV if args.framework == "xgboost" else JSON)
    server = ThreadingHTTPServer(("127.0.0.1", 0), request_handler(handlers, accept))
    server.daemon_threads = True
    ready = args.port_file.with_suffix(".tmp")
    ready.write_text(str(server.server_address[1]), encoding="utf-8")
    ready.replace(args.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
