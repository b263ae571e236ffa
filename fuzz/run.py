#!/usr/bin/env python3
"""Builds the fuzz targets, runs each for a while, and prints the results.

It uses the stable compiler with unstable features enabled, and installs cargo-fuzz if it is missing. It fails if a target
finds something, keeps the input in fuzz/artifacts, and prints the command that runs it again.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import seed

HERE = Path(__file__).parent.resolve()
# Maximum time, in seconds, and memory, in MiB, for one input. More is a finding.
TIMEOUT, MEMORY = 10, 1024


def targets():
    return re.findall(r'^path = "fuzz_targets/(\w+)\.rs"', (HERE / "Cargo.toml").read_text(), re.M)


def build(sanitizer):
    if not shutil.which("cargo-fuzz"):
        subprocess.run(["cargo", "install", "cargo-fuzz", "--locked"], check=True)
    target = HERE / "target"
    command = ["cargo", "fuzz", "build", "--fuzz-dir", HERE, "--target-dir", target, "--sanitizer", sanitizer]
    subprocess.run(command, env=os.environ | {"RUSTC_BOOTSTRAP": "1"}, check=True, cwd=HERE.parent)
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return target / re.search(r"host: (.*)", version)[1] / "release"


def run(binary, options):
    """Returns the log, and `True` if the fuzzer found nothing."""
    name = binary.name
    artifacts = HERE / "artifacts" / name
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [
        binary, HERE / "corpus" / name, f"-artifact_prefix={artifacts}/", f"-max_total_time={options.seconds}",
        f"-runs={options.runs}", f"-seed={options.seed}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}",
        "-print_final_stats=1", "-use_value_profile=1",
    ]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace")
    return done.stderr, done.returncode == 0


def summary(name, log):
    # The lines before INITED report the corpus.
    states = re.findall(r"cov: (\d+) .*?corp: (\d+)", log[log.find("INITED") :]) or [("?", "?")]
    (cov0, corp0), (cov, corp) = states[0], states[-1]
    runs, speed = (
        (re.findall(rf"^stat::{stat}:\s+(\d+)", log, re.M) or ["?"])[-1]
        for stat in ("number_of_executed_units", "average_exec_per_sec")
    )
    return f"{name:13} {runs:>9} runs {speed:>7}/s   corpus {corp0:>5} → {corp:>5}   coverage {cov0:>5} → {cov:>5}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="*", help="the targets to run (default: all)")
    parser.add_argument("--seconds", type=int, default=15, help="the longest duration of each, in seconds (default: 15)")
    parser.add_argument("--runs", type=int, default=-1, help="the most inputs of each; -1 is no limit (default: -1)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the mutations; 0 picks one at random (default: 0)")
    parser.add_argument("--sanitizer", choices=["address", "none"], default="address")
    options = parser.parse_args()
    unknown = set(options.target) - set(targets())
    if unknown:
        parser.error(f"no target: {', '.join(sorted(unknown))}; there are {', '.join(targets())}")

    seed.main()
    folder = build(options.sanitizer)
    found = []
    for name in options.target or targets():
        log, clean = run(folder / name, options)
        print(summary(name, log), flush=True)
        if not clean:
            print(log, file=sys.stderr)
            found.append(name)
    if found:
        sys.exit(f"findings of {', '.join(found)}: see above, and fuzz/artifacts. To run one again: {folder}/TARGET INPUT")


if __name__ == "__main__":
    main()
