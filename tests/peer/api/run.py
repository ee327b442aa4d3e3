#!/usr/bin/env python3
"""Does the service keep to its OpenAPI document, whatever it is asked? See README.md."""

import argparse
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

# Every check that Schemathesis has for an answer. Its check of ignored authentication is one of ours too: acts need a token.
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
          "ignored_auth"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False


def bounded(document):
    """The stream of events never ends, so it is left to the tests of the service."""
    text = json.loads(document)
    text["paths"].pop("/api/v1/events", None)
    return json.dumps(text)


def install(env):
    program = env / "bin" / "schemathesis"
    if not program.is_file():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
        subprocess.run([env / "bin" / "pip", "install", "-q", "schemathesis"], check=True)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soxsd", default="target/release/soxsd", type=pathlib.Path, help="the binary")
    parser.add_argument("--env", type=pathlib.Path, help="environment with schemathesis; made if missing")
    parser.add_argument("--examples", type=int, default=100, help="requests for each operation and phase")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    soxsd = arguments.soxsd.resolve()
    if not soxsd.is_file():
        sys.exit(f"{soxsd} is not there; cargo build --release, or give --soxsd")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soxsd-api-"))
    schemathesis = install((arguments.env or folder / "env").resolve())
    daemon = None
    try:
        daemon, address = start(folder, soxsd)
        code = attack(folder, schemathesis, address, arguments)
        alive = daemon.poll() is None and answers(f"http://{address}/healthz")
        if not alive:
            print("WRONG the daemon does not answer any more")
            code = 1
    finally:
        if daemon:
            daemon.kill()
            daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)


def start(folder, soxsd):
    """The daemon with something to tell of: a few frames, reduced, waiting and quarantined."""
    (folder / "plan.toml").write_text(
        'title = "a few"\nstart = "2026-03-10T20:00:00Z"\nseed = 1\n'
        '[[template]]\nkind = "bias"\narm = "VIS"\nframes = 3\n[[template]]\nkind = "dark"\narm = "NIR"\nexptime = 10\nframes = 2\n')
    subprocess.run([soxsd, "simulate", "plan.toml", "--out", "raw"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (folder / "raw" / "SOXS.broken.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 50)
    address = f"127.0.0.1:{free_port()}"
    (folder / "soxsd.toml").write_text(
        f'[paths]\nraw = ["raw"]\nwork = "work"\n[ingest]\nsettle_s = 0.2\nincomplete_deadline_s = 1\n'
        f'[scheduler]\npictures = false\nmin_free_mib = 64\n[service]\nlisten = "{address}"\n')
    with open(folder / "log", "ab") as log:
        daemon = subprocess.Popen([soxsd, "run"], cwd=folder, stdout=log, stderr=log)
    began = time.monotonic()
    while not answers(f"http://{address}/readyz"):
        if daemon.poll() is not None or time.monotonic() - began > 60:
            sys.exit((folder / "log").read_text())
        time.sleep(0.1)
    time.sleep(5)
    return daemon, address


def attack(folder, schemathesis, address, arguments):
    document = urllib.request.urlopen(f"http://{address}/api/v1/openapi.json", timeout=10).read().decode()
    (folder / "openapi.json").write_text(bounded(document))
    token = (folder / "work" / "token").read_text().strip()
    ran = subprocess.run([
        schemathesis, "run", folder / "openapi.json", "--url", f"http://{address}", "--checks", ",".join(CHECKS),
        "--max-examples", str(arguments.examples), "--seed", str(arguments.seed), "--request-timeout", "30",
        "--header", f"Authorization: Bearer {token}", "--continue-on-failure", "--no-color",
        "--phases", "examples,coverage,fuzzing", "--mode", "all",
    ], cwd=folder)
    return ran.returncode


if __name__ == "__main__":
    main()
