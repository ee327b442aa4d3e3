#!/usr/bin/env python3
"""Do InfluxDB, VictoriaMetrics and Prometheus hold exactly what the catalogue has, also after an outage? See README.md."""

import argparse
import json
import math
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

PACKAGES = {"influxd": "influxdb", "victoria-metrics": "victoria-metrics", "prometheus": "prometheus", "promtool": "prometheus"}
DEPLOY = pathlib.Path(__file__).resolve().parents[3] / "deploy"
# Biases and darks: no recipe waits for another, and each set has some tens of metrics.
PLAN = """
title = "biases and darks"
start = "2026-03-10T20:00:00Z"
seed = 1
"""
TEMPLATE = """
[[template]]
kind = "{kind}"
arm = "{arm}"
exptime = {exptime}
frames = 3
"""


def plan():
    biases = [TEMPLATE.format(kind="bias", arm="VIS", exptime=0).replace("exptime = 0\n", "") for _ in range(3)]
    darks = [TEMPLATE.format(kind="dark", arm="NIR", exptime=exptime) for exptime in (10, 15, 60)]
    return PLAN + "".join(biases + darks)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, data=None):
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as answer:
        return answer.read().decode()


def until(what, condition, patience=180):
    began = time.monotonic()
    while True:
        try:
            if condition():
                return
        except (OSError, urllib.error.URLError, sqlite3.OperationalError):
            pass
        if time.monotonic() - began > patience:
            sys.exit(f"gave up: {what} did not happen within {patience} s")
        time.sleep(0.2)


class Server:
    """A program on loopback that can be killed and started again on the same data."""

    def __init__(self, name, command, folder, ready, end=signal.SIGKILL):
        self.name, self.command, self.folder, self.ready, self.process = name, command, folder, ready, None
        self.end = end

    def start(self):
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)
        until(f"{self.name} answers", lambda: self.process.poll() is None and get(self.ready) is not None, 60)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.end)
            self.process.wait()


def influxdb(folder, port):
    data = folder / "influxdb"
    config = folder / "influxdb.conf"
    config.write_text(f"""
reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
  dir = "{data}/meta"
[data]
  dir = "{data}/data"
  wal-dir = "{data}/wal"
  index-version = "tsi1"
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
""")
    return Server("influxdb", ["influxd", "-config", str(config)], folder, f"http://127.0.0.1:{port}/ping")


def victoria(folder, port):
    command = ["victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder}/victoria",
               "-retentionPeriod=100y", "-search.disableCache"]
    # It has no write-ahead log: killed hard, it loses seconds of what it has acknowledged. So it is asked to stop.
    return Server("victoria-metrics", command, folder, f"http://127.0.0.1:{port}/health", signal.SIGTERM)


def prometheus(folder, port, target):
    config = folder / "prometheus.yml"
    config.write_text(f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{DEPLOY}/prometheus-rules.yml"]
scrape_configs:
  - job_name: soxsd
    static_configs: [{{targets: ["{target}"]}}]
""")
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/prometheus",
               f"--web.listen-address=127.0.0.1:{port}"]
    return Server("prometheus", command, folder, f"http://127.0.0.1:{port}/-/ready")


def query(folder, text):
    catalogue = sqlite3.connect(f"file:{folder}/work/catalogue.db?mode=ro", uri=True, timeout=5)
    try:
        return catalogue.execute(text).fetchall()
    finally:
        catalogue.close()


def open_deliveries(folder, sink):
    return query(folder, f"SELECT count(*) FROM delivery WHERE sink = '{sink}' AND state <> 'confirmed'")[0][0]


def catalogue_metrics(folder):
    """{(time in ns, arm, name, night, order, recipe): (value, min, max, flag)} and the same for those without a value."""
    rows = query(folder, """
        SELECT q.at_us * 1000, s.arm, q.name, s.night, q.qc_order, 'soxs-' || replace(q.recipe, '_', '-'), q.value, q.min,
               q.max, q.verdict, q.absent
        FROM qc q JOIN job j ON j.id = q.job_id JOIN frame_set s ON s.id = j.set_id""")
    present = {row[:6]: row[6:10] for row in rows if row[6] is not None}
    absent = {row[:6]: row[10] for row in rows if row[6] is None}
    if len(present) + len(absent) != len(rows):
        sys.exit("the catalogue has two metrics of one identity")
    return present, absent


def influx_metrics(port, measurement):
    ask = urllib.parse.urlencode({"db": "soxs", "epoch": "ns", "q": f"SELECT * FROM {measurement}"})
    result = json.loads(get(f"http://127.0.0.1:{port}/query?{ask}"))["results"][0]
    found = {}
    for series in result.get("series", []):
        for values in series["values"]:
            row = dict(zip(series["columns"], values))
            identity = tuple(row[key] for key in ("time", "arm", "name", "night", "qc_order", "recipe"))
            if measurement == "qc":
                found[identity] = (row["value"], row.get("min"), row.get("max"), row["flag"])
            else:
                found[identity] = row["reason"]
    return found


def victoria_metrics(port):
    ask = urllib.parse.urlencode({"match[]": '{__name__=~"qc_value|qc_min|qc_max"}'})
    found = {"qc_value": {}, "qc_min": {}, "qc_max": {}}
    for line in get(f"http://127.0.0.1:{port}/api/v1/export?{ask}").splitlines():
        series = json.loads(line)
        labels = series["metric"]
        for at, value in zip(series["timestamps"], series["values"]):
            identity = (at * 1_000_000, *(labels.get(key, "") for key in ("arm", "name", "night", "qc_order", "recipe")))
            found[labels["__name__"]][identity] = value
    return found


def differences(what, expected, found, same):
    wrong = [f"{what}: {key} is missing" for key in expected if key not in found]
    wrong += [f"{what}: {key} is there and not in the catalogue" for key in found if key not in expected]
    wrong += [f"{what}: {key} is {found[key]}, the catalogue has {expected[key]}"
              for key in expected if key in found and not same(expected[key], found[key])]
    print(f"{what}: {len(expected)} in the catalogue, {len(found)} there, {len(wrong)} differences")
    return wrong


def close(a, b):
    # VictoriaMetrics keeps decimal numbers of about twelve digits.
    return a == b or math.isclose(a, b, rel_tol=1e-11, abs_tol=0)


def check(folder, influx_port, victoria_port):
    present, absent = catalogue_metrics(folder)
    wrong = differences("InfluxDB, qc", present, influx_metrics(influx_port, "qc"), lambda a, b: a == b)
    wrong += differences("InfluxDB, qc_absent", absent, influx_metrics(influx_port, "qc_absent"), lambda a, b: a == b)
    victoria_has = victoria_metrics(victoria_port)
    for name, field in (("qc_value", 0), ("qc_min", 1), ("qc_max", 2)):
        # It keeps milliseconds.
        expected = {(key[0] // 1_000_000 * 1_000_000, *key[1:]): value[field]
                    for key, value in present.items() if value[field] is not None}
        wrong += differences(f"VictoriaMetrics, {name}", expected, victoria_has[name], close)
    if len(present) < 50:
        wrong.append(f"only {len(present)} metrics: the night was not reduced")
    return wrong


def check_scrape(port, address):
    server = f"http://127.0.0.1:{port}/api/v1"

    def value(text):
        ask = urllib.parse.urlencode({"query": text})
        return [row["value"][1] for row in json.loads(get(f"{server}/query?{ask}"))["data"]["result"]]

    until("a scrape", lambda: value("up") == ["1"], 30)
    families = {line.split()[2] for line in get(f"http://{address}/metrics").splitlines() if line.startswith("# TYPE")}
    shown = {line.split("{")[0].split()[0] for line in get(f"http://{address}/metrics").splitlines() if not line.startswith("#")}
    names = set(json.loads(get(f"{server}/label/__name__/values"))["data"])
    wrong = [f"Prometheus: {name} was not taken" for name in shown if name not in names]
    rules = [rule for group in json.loads(get(f"{server}/rules"))["data"]["groups"] for rule in group["rules"]]
    until("the rules are evaluated", lambda: all(rule["health"] == "ok" for group in json.loads(get(f"{server}/rules"))["data"]["groups"] for rule in group["rules"]), 30)
    print(f"Prometheus: {len(shown)} of {len(families)} families have samples, all taken; {len(rules)} rules evaluated")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soxsd", default="target/release/soxsd", type=pathlib.Path, help="the binary")
    parser.add_argument("--install", action="store_true", help="install the Debian packages that are missing (needs root)")
    parser.add_argument("--keep", action="store_true", help="keep the work folder")
    arguments = parser.parse_args()
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if missing and arguments.install:
        subprocess.run(["apt-get", "update"], check=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *missing], check=True, env=environment)
    elif missing:
        sys.exit(f"not installed: {' '.join(missing)}; give --install, or apt-get install them")
    soxsd = arguments.soxsd.resolve()
    if not soxsd.is_file():
        sys.exit(f"{soxsd} is not there; cargo build --release, or give --soxsd")
    subprocess.run(["promtool", "check", "rules", str(DEPLOY / "prometheus-rules.yml")], check=True)

    folder = pathlib.Path(tempfile.mkdtemp(prefix="soxsd-health-"))
    servers = []
    try:
        wrong = run(folder, soxsd, servers)
    finally:
        for server in servers:
            server.kill()
        if arguments.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for line in wrong[:20]:
        print("WRONG", line)
    print("all agree" if not wrong else f"{len(wrong)} differences")
    sys.exit(bool(wrong))


def run(folder, soxsd, servers):
    (folder / "plan.toml").write_text(plan())
    subprocess.run([soxsd, "simulate", "plan.toml", "--out", "frames"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    frames = sorted((folder / "frames").glob("*.fits"))
    (folder / "raw").mkdir()
    influx_port, victoria_port, daemon_port, prometheus_port = (free_port() for _ in range(4))
    address = f"127.0.0.1:{daemon_port}"
    (folder / "soxsd.toml").write_text(f"""
[paths]
raw = ["raw"]
work = "work"
[ingest]
settle_s = 0.2
rescan_s = 1
[association]
template_grace_s = 2
template_deadline_s = 5
[scheduler]
pictures = false
min_free_mib = 64
[service]
listen = "{address}"
[[health]]
name = "influxdb"
kind = "influx"
url = "http://127.0.0.1:{influx_port}/write?db=soxs&precision=ns"
[[health]]
name = "victoria"
kind = "influx"
url = "http://127.0.0.1:{victoria_port}/write"
""")
    databases = [influxdb(folder, influx_port), victoria(folder, victoria_port)]
    daemon = Server("soxsd", [str(soxsd), "run"], folder, f"http://{address}/healthz")
    servers += [*databases, daemon]
    for database in databases:
        database.start()
    get(f"http://127.0.0.1:{influx_port}/query", urllib.parse.urlencode({"q": "CREATE DATABASE soxs"}).encode())
    daemon.start()

    half = len(frames) // 2
    for frame in frames[:half]:
        shutil.copy(frame, folder / "raw")
    sinks = ("influxdb", "victoria")
    told = lambda sink: query(folder, f"SELECT count(*) FROM delivery WHERE sink = '{sink}' AND state = 'confirmed'")[0][0]
    until("the first metrics are taken", lambda: all(told(sink) > 0 for sink in sinks))
    for database in databases:
        database.kill()
    before = {sink: told(sink) for sink in sinks}
    print(f"outage: both databases went away after {before} batches")
    for frame in frames[half:]:
        shutil.copy(frame, folder / "raw")
    ended = "SELECT count(*) FROM job WHERE state IN ('done', 'flagged')"
    until("every set is reduced", lambda: query(folder, ended)[0][0] == 6)
    until("the outage is noticed", lambda: all(query(folder, f"SELECT count(*) FROM delivery WHERE sink = '{sink}' AND error <> ''")[0][0] > 0 for sink in sinks))
    daemon.kill()
    print(f"the daemon was killed too, with {[open_deliveries(folder, sink) for sink in sinks]} batches to tell")
    for server in [*databases, daemon]:
        server.start()
    until("everything is taken", lambda: all(open_deliveries(folder, sink) == 0 for sink in sinks))
    # VictoriaMetrics makes new points visible after some seconds.
    get(f"http://127.0.0.1:{victoria_port}/internal/force_flush")
    scraper = prometheus(folder, prometheus_port, address)
    servers.append(scraper)
    scraper.start()
    return check(folder, influx_port, victoria_port) + check_scrape(prometheus_port, address)


if __name__ == "__main__":
    main()
