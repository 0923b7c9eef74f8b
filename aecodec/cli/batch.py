"""A command's work on all files of a run: one after the other or in threads; a failed file never stops the
rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NoReturn, TypeAlias

import click

from aecodec.cli.exits import Interrupted, failure_of, show_traceback
from aecodec.cli.files import AEC_SUFFIX, Job, OutputFiles, Plan, find_inputs
from aecodec.cli.options import RunOptions
from aecodec.cli.progress import FileProgress, Progress
from aecodec.cli.report import Outcome, Result, RunReport, file_line

Work: TypeAlias = Callable[[Job, FileProgress], Result]
"""What a command does with one file; what it raises is the file's failure."""


def run_plan(command: str, plan: Plan, work: Work, outputs: OutputFiles, options: RunOptions) -> NoReturn:
    """Do the work of a command that writes files, print what came of it and end the command with its exit
    code.
    """
    start = time.monotonic()
    visible = not options.quiet
    with Progress(f"{command}ing", len(plan.jobs), visible=visible) as progress:
        outcomes = run_jobs(plan.jobs, work, outputs, progress, options)
    report = RunReport(command, outcomes, time.monotonic() - start)
    to_stderr = any(job.target is None for job in plan.jobs)
    if options.json:
        click.echo(report.to_json(), err=to_stderr)
    elif not options.quiet:
        lines = (
            [file_line(outcome) for outcome in outcomes if outcome.result is not None] if plan.single else []
        )
        for line in lines if plan.single else report.summary_lines():
            click.echo(line, err=to_stderr)
    click.get_current_context().exit(report.exit_code)


def run_readers(
    command: str, names: Sequence[str], work: Work, options: RunOptions, *, recursive: bool
) -> NoReturn:
    """Do the work of a command that reads .aec files and writes none, print what it found and end the
    command.
    """
    start = time.monotonic()
    inputs, _ = find_inputs(names, recursive=recursive, suffixes=frozenset({AEC_SUFFIX}))
    jobs = [Job(item.path, None, item.problem) for item in inputs]
    with Progress(command, len(jobs), visible=not options.quiet) as progress:
        outcomes = run_jobs(jobs, work, OutputFiles(), progress, options)
    report = RunReport(command, outcomes, time.monotonic() - start)
    if options.json:
        click.echo(report.to_json())
    elif not options.quiet:
        for result in filter(None, (outcome.result for outcome in outcomes)):
            for line in result.lines:
                click.echo(line)
    click.get_current_context().exit(report.exit_code)


def run_jobs(
    jobs: Sequence[Job], work: Work, outputs: OutputFiles, progress: Progress, options: RunOptions
) -> list[Outcome]:
    """Work on all files; failures are printed as they come.

    Returns:
        One outcome for each job, in the order of the jobs.

    Raises:
        Interrupted: on Ctrl-C. No unfinished output is left; with several workers their threads may still
            compute.
        BrokenPipeError: nobody reads the standard output any more.
    """
    settled = {
        index: outcome for index, job in enumerate(jobs) if (outcome := _settled_before(job)) is not None
    }
    for index in sorted(settled):
        _tell(settled[index], progress)
        progress.file().finish()
    open_jobs = {index: job for index, job in enumerate(jobs) if index not in settled}

    def one(job: Job) -> Outcome:
        return _run_job(job, work, progress, options)

    try:
        if options.workers == 1 or len(open_jobs) <= 1:
            for index, job in open_jobs.items():
                settled[index] = one(job)
        else:
            _run_in_threads(open_jobs, one, options.workers, settled)
    except KeyboardInterrupt:
        outputs.abandon()
        finished = sum(outcome.status in ("done", "partial") for outcome in settled.values())
        text = f"interrupted after {finished} of {len(jobs)} files"
        raise Interrupted(
            text + "; the same command goes on from there" if len(jobs) > 1 else "interrupted"
        ) from None
    return [settled[index] for index in range(len(jobs))]


def _run_in_threads(
    jobs: dict[int, Job], one: Callable[[Job], Outcome], workers: int, settled: dict[int, Outcome]
) -> None:
    executor = ThreadPoolExecutor(workers, thread_name_prefix="aecodec")
    try:
        indices = {executor.submit(one, job): index for index, job in jobs.items()}
        for future in as_completed(indices):
            settled[indices[future]] = future.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _settled_before(job: Job) -> Outcome | None:
    if job.problem is not None:
        return Outcome(job, "failed", failure=failure_of(job.problem))
    return Outcome(job, "skipped") if job.done_before else None


def _run_job(job: Job, work: Work, progress: Progress, options: RunOptions) -> Outcome:
    start = time.monotonic()
    file_progress = progress.file()
    try:
        result = work(job, file_progress)
    except BrokenPipeError:
        raise
    except Exception as error:
        outcome = Outcome(job, "failed", time.monotonic() - start, failure=failure_of(error))
        _tell(outcome, progress)
        if options.debug:
            show_traceback(error)
    else:
        outcome = Outcome(job, "partial" if result.partial else "done", time.monotonic() - start, result)
        if not options.quiet:
            _tell(outcome, progress)
    file_progress.finish()
    return outcome


def _tell(outcome: Outcome, progress: Progress) -> None:
    """Print a failure, and what the user should know of a success."""
    name = outcome.job.source_name
    if outcome.failure is not None:
        message = outcome.failure.message.removeprefix(f"{outcome.job.source}: ")  # some begin with the name
        progress.message(f"aecodec: {name}: {message}")
    elif outcome.result is not None:
        for note in outcome.result.notes:
            progress.message(f"aecodec: {name}: {note}")
