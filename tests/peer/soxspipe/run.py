#!/usr/bin/env python3
"""Reduce a folder of raw SOXS frames with soxspipe, the reference pipeline, and say what passed.

The frames are copied, never linked: soxspipe follows links and moves what they point at. It is installed into a
throw-away virtual environment. README.md has the options, what counts as passed, and what is known to go wrong.
"""

import argparse
import csv
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

# The version that the facts about the peer come from, and what its own requirements forget.
VERSION = "0.17.4"
FORGOTTEN = ["six"]
OLDEST_PYTHON = (3, 12)

# Recipes in the order of the cascade; `_obj` and `_std` are the peer's names for targets and flux standards.
CASCADE = ["mbias", "mdark", "disp_solution", "order_centres", "mflat", "spat_solution",
           "nod_std", "stare_std", "offset_std", "nod_obj", "stare_obj", "offset_obj"]
# The arms do not need one another; VIS is the faster one.
ARMS = ["VIS", "NIR"]
# What must run in each arm: the first of the alternatives that has a set.
REQUIRED = {
    "VIS": [["mbias"], ["disp_solution"], ["order_centres"], ["mflat"], ["spat_solution"],
            ["stare_obj", "stare_std"], ["nod_obj", "nod_std"]],
    "NIR": [["mdark"], ["disp_solution"], ["order_centres"], ["mflat"], ["spat_solution"],
            ["stare_obj", "stare_std"], ["nod_obj", "nod_std"]],
}


@dataclass
class FrameSet:
    """A set of files that `prep` built: the input of one run of a recipe."""

    recipe: str
    arm: str
    sof: str
    complete: bool
    # Names of the products that the peer expects from it.
    products: list = field(default_factory=list)
    # Sets whose products are its input.
    needs: list = field(default_factory=list)

    @property
    def command(self):
        return "offset" if self.recipe == "offset_std" else self.recipe.removesuffix("_obj")

    @property
    def stem(self):
        return self.sof.removesuffix(".sof")


@dataclass
class Outcome:
    """What came of one run."""

    passed: bool
    seconds: float
    result: str
    failed_qc: list


class Workspace:
    """A fresh soxspipe workspace with copies of the frames, and a home folder of its own for the peer's settings."""

    def __init__(self, folder, soxspipe):
        self.root = folder / "workspace"
        self.logs = folder / "logs"
        self.home = folder / "home"
        self.soxspipe = soxspipe
        for each in (self.root, self.logs, self.home):
            each.mkdir(parents=True)

    def run(self, log, limit, *arguments):
        """Run the peer in the workspace; its exit code, or None if it took too long."""
        environment = dict(os.environ, HOME=str(self.home), MPLBACKEND="Agg")
        with open(self.logs / log, "w") as output:
            # A session of its own, so that the time limit ends the peer's worker processes too.
            process = subprocess.Popen([self.soxspipe, *arguments], cwd=self.root, env=environment, stdout=output,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
            try:
                return process.wait(limit)
            except BaseException as stop:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if isinstance(stop, subprocess.TimeoutExpired):
                    return None
                raise

    def why_stopped(self, code, log, limit):
        """Why a run with this exit code failed."""
        return f"stopped after {limit} s" if code is None else self.last_error(log)

    def last_error(self, log):
        """The line of a log that says most about why it failed."""
        text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", (self.logs / log).read_text(errors="replace"))
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception)\b", line) or "ERROR" in line]
        return (telling or lines or ["nothing in the log"])[-1][:200]

    def query(self, sql, *values):
        """Rows of the peer's database, as dictionaries."""
        connection = sqlite3.connect(f"{(self.root / 'soxspipe.db').as_uri()}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql, values)]
        finally:
            connection.close()

    def sets(self):
        """The sets that `prep` built, by name: one arm after the other, each in the order of the cascade."""
        rows = self.query('select recipe, "eso seq arm" as arm, sof, complete from raw_frame_sets')
        rows = [row for row in rows if row["recipe"] in CASCADE and row["arm"] in ARMS]
        rows.sort(key=lambda row: (ARMS.index(row["arm"]), CASCADE.index(row["recipe"]), row["sof"]))
        sets = {row["sof"]: FrameSet(row["recipe"], row["arm"], row["sof"], row["complete"] == 1) for row in rows}
        maker = {}
        for row in self.query("select sof, file, filepath from product_frames"):
            if row["sof"] in sets:
                sets[row["sof"]].products.append(row["file"])
                maker[row["filepath"]] = row["sof"]
        for row in self.query("select sof, filepath from sof_map"):
            if row["sof"] in sets and row["filepath"] in maker and maker[row["filepath"]] not in sets[row["sof"]].needs:
                sets[row["sof"]].needs.append(maker[row["filepath"]])
        return sets

    def products(self):
        """Names of the FITS files that have been reduced so far."""
        folders = os.walk(self.root / "reduced", followlinks=True)
        return {name for _, _, names in folders for name in names if name.endswith(".fits")}

    def failed_qc(self, sof):
        """Quality control values of a set that are out of the peer's range, as text."""
        rows = self.query("select qc_name, qc_value, qc_value_min, qc_value_max from quality_control "
                          "where sof_name = ? and qc_flag = 'fail' and qc_order = '-1'", sof)
        return ["{qc_name} {qc_value} not in {qc_value_min}..{qc_value_max}".format(**row) for row in rows]


def find_python(wanted):
    """An interpreter new enough for the peer."""
    candidates = [wanted] if wanted else [sys.executable, "python3.13", "python3.12", "python3"]
    for candidate in candidates:
        path = shutil.which(candidate)
        question = [path, "-c", f"import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"]
        if path and subprocess.run(question, stderr=subprocess.DEVNULL).returncode == 0:
            return path
    sys.exit(f"error: no Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer among {', '.join(candidates)}\n"
             "hint: name one with --python")


def install(environment, python, version):
    """The peer's command in the environment, which is made if it is not there."""
    command = environment / "bin" / "soxspipe"
    if not command.exists():
        subprocess.run([find_python(python), "-m", "venv", environment], check=True)
        pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"soxspipe=={version}", *FORGOTTEN], check=True)
    question = "from importlib.metadata import version; print(version('soxspipe'))"
    ask = [environment / "bin" / "python", "-c", question]
    answer = subprocess.run(ask, check=True, capture_output=True, text=True)
    found = answer.stdout.strip()
    print(f"soxspipe {found} in {environment}", flush=True)
    return command.absolute()


def spoiled_frames(options):
    """Names of the frames in which the simulator has put a fault. Other frames than its own have no such table."""
    truth = options.truth or options.raw.with_name(options.raw.name + "-truth")
    if options.truth is None and not (truth / "frames.csv").is_file():
        return set()
    with open(truth / "frames.csv", newline="") as lines:
        return {row["name"] for row in csv.DictReader(lines) if row["faults"]}


def why_ignored(row):
    """Why the peer leaves a frame out that it has indexed."""
    kind, slit = row["eso dpr type"], row["slit"]
    if row["eso seq arm"] == "ACQ":
        return "acquisition camera: not reduced by the peer"
    if row["simulation"]:
        return "header says simulation (SWSIM)"
    if kind in ("LAMP,DFLAT", "DOME,FLAT"):
        return f"{kind}: off in the peer's settings"
    if slit in ("UNDEFINED", "BLANK"):
        return f"{kind} with slit {slit}"
    if kind == "STD,FLUX":
        return f"standard star {row['eso obs targ name']} is not in the peer's library"
    return f"DPR TYPE {kind} is unknown to the peer"


def why_left_over(row):
    """Why a frame that the peer takes as valid or could take is in none of its sets."""
    if row["eso seq arm"] == "NIR" and row["eso dpr tech"] == "IMAGE" and row["eso dpr type"] != "DARK":
        return "NIR lamp off: the peer uses the master dark"
    if row["simulation"]:
        return "header says simulation (SWSIM)"
    if row["set_size"] != row["eso tpl nexp"]:
        return f"template has {row['set_size']} of {row['eso tpl nexp']} frames"
    if row["eso dpr tech"] == "ECHELLE,SLIT" and row["eso dpr type"] == "LAMP,WAVE":
        return "arc through a slit: no recipe begins with it"
    if row["eso dpr tech"] == "ECHELLE,SLIT" and row["set_size"] < 5:
        return "the peer wants five flats"
    return "no recipe for it, or a calibration is missing"


def table(rows, heads):
    """Rows as aligned text."""
    rows = [heads, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def counted(rows, reason):
    """How many frames of each sort have each reason."""
    sorts = {}
    for row in rows:
        key = (row["eso seq arm"], row["eso dpr type"], row["eso dpr tech"], reason(row))
        sorts[key] = sorts.get(key, 0) + 1
    return [(count, *key) for key, count in sorted(sorts.items(), key=str)]


def report_index(workspace, given, spoiled):
    """Print what `prep` made of the frames; whether every one that is not spoiled was indexed."""
    frames = workspace.query('select file, "eso seq arm", "eso dpr type", "eso dpr tech", slit, simulation, ignore, '
                             'set_size, "eso tpl nexp", "eso obs targ name" from raw_frames')
    lost = sorted(set(given) - {row["file"] for row in frames})
    print(f"\n{len(frames)} of {len(given)} frames indexed")
    for name in lost:
        print(f"  not indexed: {name}{' (its fault is on purpose)' if name in spoiled else ''}")
    used = {row["file"] for row in workspace.query("select distinct file from sof_map")}
    heads = ["frames", "arm", "type", "technique", "why"]
    ignored = [row for row in frames if row["ignore"]]
    if ignored:
        print("\nIndexed and ignored:")
        table(counted(ignored, why_ignored), heads)
    idle = [row for row in frames if not row["ignore"] and row["file"] not in used]
    if idle:
        print("\nIn no set:")
        table(counted(idle, why_left_over), heads)
    return not [name for name in lost if name not in spoiled]


def with_needs(sets, names):
    """The named sets and all that they need, directly or not."""
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += sets[name].needs
    return found


def choose(sets, arms, every):
    """The sets to run, in order; and what is required but has no set."""
    chosen = {each.sof for each in sets.values() if every and each.complete and each.arm in arms}
    missing = []
    for arm in arms:
        # From the end of the cascade, so that calibrations are first of all those of the setup of the targets.
        for alternatives in reversed(REQUIRED[arm]):
            fitting = [each for name in alternatives for each in sets.values()
                       if each.recipe == name and each.arm == arm and each.complete]
            if not fitting:
                missing.append((alternatives[0].removesuffix("_obj"), arm))
            elif not any(each.sof in chosen for each in fitting):
                chosen |= with_needs(sets, [fitting[0].sof])
    return [each for each in sets.values() if each.sof in chosen], missing


def degrees(workspace, arm):
    """`--poly` for order_centres with the degrees of the settings: 0.19.0 refuses to run without the option."""
    settings = (workspace.root / "soxspipe.yaml").read_text()
    block = re.search(rf"^soxs-order-centres:.*?^    {arm.lower()}:(.*?)(?=^ {{0,4}}\S|\Z)", settings, re.M | re.S)
    found = [re.search(rf"^\s+{key}: *(\d)", block.group(1), re.M) for key in ("order-deg", "disp-axis-deg")]
    return ["--poly=" + "".join(digit.group(1) for digit in found)]


def reduce(workspace, each, number, limit):
    """Run one recipe on one set."""
    before, begin = workspace.products(), time.monotonic()
    log = f"{number:02}_{each.command}_{each.stem}.log"
    options = degrees(workspace, each.arm) if each.recipe == "order_centres" else []
    code = workspace.run(log, limit, each.command, f"sof/{each.sof}", *options)
    seconds = time.monotonic() - begin
    made = workspace.products() - before
    lacking = sorted(set(each.products) - made)
    if each.recipe.startswith("stare") and any("EXTRACTED_MERGED" in name for name in made):
        # A stare set of several frames is written frame by frame, under names the database does not foresee.
        lacking = [name for name in lacking if "EXTRACTED_MERGED" not in name]
    if code == 0 and made and not lacking:
        main = [name for name in made if name in each.products] or made
        return Outcome(True, seconds, " ".join(sorted(main)), workspace.failed_qc(each.sof))
    if code == 0:
        result = f"no {(lacking or ['product'])[0]}: {workspace.last_error(log)}"
    else:
        result = workspace.why_stopped(code, log, limit)
    return Outcome(False, seconds, f"{result} ({log})", workspace.failed_qc(each.sof))


def reduce_all(workspace, chosen, limit):
    """Run the chosen sets one by one and print what came of each."""
    outcomes = {}
    for number, each in enumerate(chosen, 1):
        broken = [sof for sof in each.needs if sof in outcomes and not outcomes[sof].passed]
        if broken:
            outcome = Outcome(False, 0.0, f"not run: needs {broken[0]}", [])
        else:
            outcome = reduce(workspace, each, number, limit)
        outcomes[each.sof] = outcome
        word = "pass" if outcome.passed else "FAIL"
        print(f"{word}  {each.command} {each.stem}\n      {outcome.result}", flush=True)
    return outcomes


def summary(chosen, outcomes):
    """Print one row for each run."""
    print()
    rows = []
    for each in chosen:
        outcome = outcomes[each.sof]
        word = "pass" if outcome.passed else "FAIL"
        rows.append((word, each.command, each.arm, f"{outcome.seconds:.0f}", each.stem, "; ".join(outcome.failed_qc)))
    table(rows, ["", "recipe", "arm", "seconds", "set", "quality control out of range"])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("raw", type=Path, help="folder of raw frames (*.fits)")
    option("--work", type=Path, help="workspace, logs, environment: new or empty, kept (default: a temporary one)")
    option("--env", type=Path, help="virtual environment to use, made if missing (default: one in the work folder)")
    option("--python", help="interpreter for the environment, {}.{} or newer".format(*OLDEST_PYTHON))
    option("--version", default=VERSION, help="version of soxspipe to install (default: %(default)s)")
    option("--truth", type=Path, help="truth of the night (default: RAW-truth): its spoiled frames need not be indexed")
    option("--limit", type=int, default=3600, help="seconds for one run of a recipe (default: %(default)s)")
    option("--arm", choices=ARMS, help="run the recipes of this arm only")
    option("--every", action="store_true", help="run every set, not one of each recipe and arm")
    option("--prep-only", action="store_true", help="stop after prep")
    option("--strict", action="store_true", help="quality control out of the peer's range is a failure")
    return parser.parse_args()


def check(options, work):
    """Everything in the order it happens; whether all that is required passed."""
    frames = sorted(path for path in options.raw.glob("*.fits") if path.is_file())
    if not frames:
        sys.exit(f"error: no *.fits in {options.raw}")
    spoiled = spoiled_frames(options)
    command = install(options.env or work / "env", options.python, options.version)
    workspace = Workspace(work, command)
    for frame in frames:
        shutil.copyfile(frame, workspace.root / frame.name)
    code = workspace.run("00_prep.log", options.limit, "prep", str(workspace.root))
    if code != 0 or not (workspace.root / "sof").is_dir():
        print(f"FAIL  prep: {workspace.why_stopped(code, '00_prep.log', options.limit)}")
        return False
    indexed = report_index(workspace, [frame.name for frame in frames], spoiled)
    sets = workspace.sets()
    print(f"\n{len(sets)} sets of files")
    notes = {True: "", False: "calibrations missing"}
    rows = [(each.recipe, each.arm, each.stem, notes[each.complete]) for each in sets.values()]
    table(rows, ["recipe", "arm", "set", ""])
    present = {row["arm"] for row in workspace.query('select distinct "eso seq arm" as arm from raw_frames')}
    arms = [arm for arm in ARMS if arm in present and options.arm in (None, arm)]
    chosen, missing = choose(sets, arms, options.every)
    print()
    for recipe, arm in missing:
        print(f"FAIL  {recipe:13} {arm}  no complete set for it")
    if options.prep_only:
        return indexed and not missing
    outcomes = reduce_all(workspace, chosen, options.limit)
    summary(chosen, outcomes)
    passed = sum(outcome.passed for outcome in outcomes.values())
    out_of_range = [line for outcome in outcomes.values() for line in outcome.failed_qc]
    total = sum(outcome.seconds for outcome in outcomes.values())
    print(f"\n{passed} of {len(outcomes)} runs passed in {total:.0f} s, {len(out_of_range)} QC values out of range")
    all_passed = bool(outcomes) and passed == len(outcomes)
    return indexed and not missing and all_passed and not (options.strict and out_of_range)


def main():
    options = arguments()
    options.raw = options.raw.absolute()
    work = (options.work or Path(tempfile.mkdtemp(prefix="soxspipe-"))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        sys.exit(f"error: {work} is not empty\nhint: the workspace must be a fresh one")
    try:
        passed = check(options, work)
    except subprocess.CalledProcessError as failed:
        sys.exit(f"error: {failed}")
    finally:
        if not any(work.iterdir()):
            work.rmdir()
    if passed and not options.work:
        shutil.rmtree(work)
    else:
        print(f"workspace and logs: {work}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
