# SPDX-License-Identifier: MIT
"""Cells: one candidate under one load, once. Which programs run for it, on
which cores, and what they say. Knows nothing of reports."""
import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import mean

import candidates
import loads

# Beyond warm-up and measuring: connecting, subscribing, draining.
CELL_EXTRA_S = 120
LOADS_MAX = 4


def flags_of(arguments):
    """{"payload": 16, "random": True} as a command line."""
    flags = []
    for name, value in arguments.items():
        if value is True:
            flags.append(f"--{name}")
        else:
            flags += [f"--{name}", str(value)]
    return flags


def together(results):
    """What several load generators found out at the same time, as one. Each
    has looked at the same broker's CPU time."""
    if len(results) == 1:
        return results[0]
    for result in results:
        if not result.get("ok"):
            return result
    wall_s = mean(result["wall_s"] for result in results)
    whole = dict(results[0], wall_s=wall_s)
    for key in ("cpu_s", "waited_s", "load_waited_s"):
        whole[key] = wall_s * mean(r[key] / r["wall_s"] for r in results)
    for key in ("delivered", "acknowledged", "sent"):
        whole[key] = round(wall_s * sum(
            r[key] / r["wall_s"] for r in results))
    return whole


class Cells:
    """Runs cells with these programs on these cores."""

    def __init__(self, options, programs, broker_cores, load_cores,
                 has_threads):
        self.options = options
        self.programs = Path(programs)
        self.broker_cores = broker_cores
        self.load_cores = load_cores
        self.has_threads = has_threads
        self.limit_s = 2 * (options.seconds + options.warmup) + CELL_EXTRA_S

    def arguments(self, row):
        arguments = {"seconds": self.options.seconds}
        if not row.core_case:
            arguments["warmup"] = self.options.warmup
        arguments.update(row.args)
        if self.options.smoke:
            arguments.update(row.smoke)
        return arguments

    def load_count(self, row):
        """One load generator, or with worker threads as many as there are
        cores for it and for the broker."""
        if not row.threads:
            return 1
        return max(1, min(LOADS_MAX, (os.cpu_count() or 1) // 2))

    def load_command(self, row, candidate, process, port, index):
        count = self.load_count(row)
        arguments = self.arguments(row)
        for name in row.shared:
            arguments[name] //= count
        arguments["window"] = row.windows.get(
            candidate.name, self.options.window)
        if index > 0:
            arguments["first"] = 1000 * index
        if self.load_cores and not row.threads:
            arguments["spin"] = True
        return [str(self.programs / "bench_load"),
                "--protocol", candidate.protocol, "--port", str(port),
                "--pid", str(process.pid), *flags_of(arguments)]

    def results_of(self, commands, cores):
        """What these programs say, all of them at the same time."""
        running = []
        try:
            for command in commands:
                running.append(subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    preexec_fn=candidates.child_setup(cores)))
            return [self.result_of(process) for process in running]
        finally:
            for process in running:
                process.kill()
                process.communicate()

    def result_of(self, process):
        said, complaint = process.communicate(timeout=self.limit_s)
        try:
            return json.loads(said)
        except ValueError as error:
            text = complaint.decode(errors="replace")[-400:]
            raise candidates.Failed(
                f"{process.args[0]} ended with {process.returncode}: "
                f"{text}") from error

    def run_core(self, row):
        command = [str(self.programs / "bench_core"), row.core_case,
                   "--messages", "100000", *flags_of(self.arguments(row))]
        return self.results_of([command], self.broker_cores)[0]

    def broker_flags(self, row, candidate):
        if candidate.name != loads.BROKERD:
            return ()
        if not self.has_threads:
            return row.brokerd_flags
        return row.brokerd_flags + (f"--threads={max(1, row.threads)}",)

    def run_broker(self, row, candidate):
        """One broker and its load, started and stopped."""
        cores = (set(), set()) if row.threads else (
            self.broker_cores, self.load_cores)
        with tempfile.TemporaryDirectory(prefix="brokerd-bench-") as folder:
            os.chmod(folder, 0o755)  # mosquitto gives up root
            process, port = candidate.start(
                folder, cores[0], self.broker_flags(row, candidate))
            try:
                return together(self.results_of(
                    [self.load_command(row, candidate, process, port, index)
                     for index in range(self.load_count(row))], cores[1]))
            finally:
                candidates.stop(process)

    def run(self, row, candidate):
        """The result as a dict; "ok" tells whether there are figures."""
        try:
            if row.core_case:
                return self.run_core(row)
            return self.run_broker(row, candidate)
        except candidates.Failed as error:
            return {"ok": False, "error": str(error)}
        except subprocess.TimeoutExpired:
            return {"ok": False, "error": "took too long"}
