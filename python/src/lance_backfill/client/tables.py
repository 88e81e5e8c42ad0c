"""A Lance table whose computed columns are declared, filled and looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from .binary import Binary, find_binary, options, options_of_process
from .errors import BackfillError, BadInput
from .failures import failures_table
from .functions import Packing, check_functions, check_name, options_of_function
from .job import Job, ordered
from .showing import bar_of, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from .documents import (
        Altered,
        Approved,
        Backfilled,
        Canary,
        Declared,
        Dropped,
        Plan,
        Refreshed,
        Registered,
        Status,
    )
    from .functions import Function
    from .showing import Bar

_UNCHANGED: Any = object()


def table(
    uri: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, str] | None = None,
    branch: str | None = None,
    service: str | None = None,
    binary: str | os.PathLike[str] | None = None,
    interpreter: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Table:
    """A Lance table, to compute columns of it; nothing is opened before the first call.

    Args:
        uri: Path or URI of the table.
        storage_options: Options of the table's object store, such as `{"aws_region": ...}`; beside
            those of the variable `LANCE_BACKFILL_STORAGE_OPTIONS`, and stronger.
        branch: A branch of the table; its main line without.
        service: The deployed service that calls go through, such as `"s3://bucket/prefix"`: what is
            declared it keeps up to date, and jobs it does.  Without it that is what
            `LANCE_BACKFILL_SERVICE` or a file of settings names, if any; `"none"` is none.
        binary: The program `lance-backfill`.  Without it that is what `LANCE_BACKFILL_BINARY`
            names, or what the wheel installed beside this interpreter, or what is on `PATH`.
        interpreter: The Python that packs and runs functions.  Without it that is what
            `LANCE_BACKFILL_PYTHON` names, or this one.
        workers: Parts of the table to work on at once; without it one more than there are cores.
        cache: Folder for locks of this machine and for unpacked functions.
        progress: Whether calls that compute show a bar; without it where somebody watches, in a
            notebook or a terminal.

    Raises:
        BackfillError: there is no program `lance-backfill`.
    """
    of_process = options_of_process(branch, service, workers, interpreter, cache)
    program = Binary(find_binary(binary), of_process, dict(storage_options or {}))
    return Table(os.fspath(uri), program, progress=progress)


class Table:
    """A Lance table with computed columns; `table` makes it.

    Every method raises `BadInput`, and has changed nothing, if what it was asked for cannot be; and
    `BackfillError` if it failed, with what was done all the same in `.result`.  A row that fails
    within the error budget is no error: it is counted, and `failures` has it.
    """

    def __init__(self, uri: str, binary: Binary, *, progress: bool | None = None) -> None:
        self.uri = uri
        self._binary = binary
        self._progress = progress

    def __repr__(self) -> str:
        return f"<Table {self.uri!r}>"

    # Declaring.

    def add_columns(
        self,
        columns: Mapping[str | tuple[str, ...], Function],
        inputs: Sequence[str] | None = None,
        *,
        where: str | None = None,
        backfill: bool = False,
        code: str | os.PathLike[str] | None = None,
        env: str | None = None,
        requirements: str | os.PathLike[str] | None = None,
        target: str | None = None,
        python: str | None = None,
        data_type: str | None = None,
        adopt: bool = False,
        on_error: str | None = None,
        max_failed_rows: int | None = None,
        max_failed_fraction: float | None = None,
        max_attempts: int | None = None,
        row_timeout: float | None = None,
        batch_size: int | None = None,
        pool: str | None = None,
        gpu_class: str | None = None,
        approve_above_rows: int | None = None,
        on_unknown: str | None = None,
        progress: bool | None = None,
    ) -> list[Declared]:
        """Declares computed columns; nothing is computed yet, unless `backfill` is True.

        Args:
            columns: What computes each column: a function or class, decorated with `@udf` or not; a
                SQL expression; or what `register` returned.  Several columns of one struct are
                named together, as `("w", "h")` or `"w,h"`.
            inputs: Columns that the functions read, if not named like their parameters.
            where: SQL filter: only rows that it selects are computed.
            backfill: Also computes the rows that are there, one column after the other.
            code: The folder to import from, `.py` file or wheel that is packed for a function.
                Without it that is the code in the folder of its module: `*.py`, and packages with
                all that they hold, but no data beside them.
            env: What functions run in.  `"capture"`, which is the default, takes along what this
                interpreter has installed, so that they run on any machine.  `"current"` takes
                nothing along and is enough, and faster to declare, as long as only this machine
                computes the column.  `"image:NAME@sha256:..."` is in the worker's image.
            requirements: A requirements file, instead of `env`: its packages are taken along.
            target: Platform to take along for, such as `"linux-x86_64"`; this one without.
            python: Python to take along for, such as `"3.13"`; the interpreter's without.
            data_type: Type of a SQL column, such as `"double"`; values are cast to it.
            adopt: Takes over columns that exist: values stay, missing ones are computed.
            on_error: `"skip"` records a failed row and goes on, `"fail"` stops.
            max_failed_rows: Failed rows that are tolerated.
            max_failed_fraction: Failed share that is tolerated, looked at after 100 rows.
            max_attempts: Attempts before a transient error counts.
            row_timeout: Seconds for a row, or for a call of a batched function.
            batch_size: Rows of one call.
            pool: Workers of a service that compute the column: `"cpu"`, `"gpu"`, or `"ray-cpu"`
                for CPU workers of a Ray cluster.
            gpu_class: Kind of GPU workers, as the service calls them; the only one without.
            approve_above_rows: Rows in need above which unattended work waits for `approve`; -1 for
                no limit.
            on_unknown: `"trust"` keeps values of lost origin, `"recompute"` computes them again.
            progress: Whether a bar is shown.

        Returns:
            The definitions, with the key `backfill` where that was asked for.

        Raises:
            BackfillError: one of the columns could not be declared or filled; `.result` has the
                definitions of those before it.
        """
        packing = Packing(code, env, requirements, target, python)
        policy = options(
            where=where,
            type=data_type,
            adopt=adopt,
            on_error=on_error,
            max_failed_rows=max_failed_rows,
            max_failed_fraction=max_failed_fraction,
            max_attempts=max_attempts,
            row_timeout=row_timeout,
            batch_size=batch_size,
            pool=pool,
            gpu_class=gpu_class,
            approve_above_rows=approve_above_rows,
            on_unknown=on_unknown,
        )
        check_functions(columns.values(), inputs, packing, data_type)
        declared: list[Declared] = []
        try:
            for names, function in columns.items():
                with options_of_function(function, inputs, packing) as given:
                    document = self._call(["column", "add"], _joined(names), [*given, *policy])
                declared.append(document)
            for document in declared if backfill else ():
                try:
                    document["backfill"] = self.backfill(_first(document), progress=progress)
                except BackfillError as error:
                    if error.result is not None:
                        document["backfill"] = error.result
                    raise
        except BackfillError as error:
            error.result = declared
            raise
        return declared

    def alter_columns(
        self,
        columns: Mapping[str | tuple[str, ...], Function] | Iterable[str] | str,
        inputs: Sequence[str] | None = None,
        *,
        where: str | None = _UNCHANGED,
        on_change: str | None = None,
        code: str | os.PathLike[str] | None = None,
        env: str | None = None,
        requirements: str | os.PathLike[str] | None = None,
        target: str | None = None,
        python: str | None = None,
        data_type: str | None = None,
        on_error: str | None = None,
        max_failed_rows: int | None = None,
        max_failed_fraction: float | None = None,
        max_attempts: int | None = None,
        row_timeout: float | None = None,
        batch_size: int | None = None,
        pool: str | None = None,
        gpu_class: str | None = None,
        approve_above_rows: int | None = None,
        on_unknown: str | None = None,
    ) -> list[Altered]:
        """Changes what computes columns, their filter or their policy; computes nothing.

        Args:
            columns: As for `add_columns`; or names alone, where only filter or policy change.
            inputs: As for `add_columns`.
            where: A new filter, or None for none.
            on_change: What becomes of the values that there are.  `"only_new"`, the default, keeps
                them; `"recompute_all"` makes them stale, and the next refresh computes them.  For a
                part keep them, then call `backfill` with `where` and `recompute`.
            code: As for `add_columns`, and so are all others.
            env: See there.
            requirements: See there.
            target: See there.
            python: See there.
            data_type: See there.
            on_error: See there.
            max_failed_rows: See there.
            max_failed_fraction: See there.
            max_attempts: See there.
            row_timeout: See there.
            batch_size: See there.
            pool: See there.
            gpu_class: See there.
            approve_above_rows: See there.
            on_unknown: See there.

        Returns:
            The definitions, with the rows that each choice of `on_change` makes stale.
        """
        packing = Packing(code, env, requirements, target, python)
        policy = options(
            where=None if where is _UNCHANGED else where,
            no_filter=where is None,
            on_change=on_change,
            type=data_type,
            on_error=on_error,
            max_failed_rows=max_failed_rows,
            max_failed_fraction=max_failed_fraction,
            max_attempts=max_attempts,
            row_timeout=row_timeout,
            batch_size=batch_size,
            pool=pool,
            gpu_class=gpu_class,
            approve_above_rows=approve_above_rows,
            on_unknown=on_unknown,
        )
        functions = _functions(columns)
        given = (of for of in functions.values() if of is not None)
        check_functions(given, inputs, packing, data_type)
        altered: list[Altered] = []
        try:
            for names, function in functions.items():
                if function is None:
                    document = self._call(["column", "alter"], _joined(names), policy)
                else:
                    with options_of_function(function, inputs, packing) as of_function:
                        document = self._call(
                            ["column", "alter"], _joined(names), [*of_function, *policy]
                        )
                altered.append(document)
        except BackfillError as error:
            error.result = altered
            raise
        return altered

    def drop_columns(
        self, columns: Iterable[str] | str, *, drop_values: bool = False
    ) -> list[Dropped]:
        """Stops computing columns; their values stay, unless `drop_values` is True."""
        dropped: list[Dropped] = []
        try:
            for name in _names(columns):
                extra = options(drop_values=drop_values)
                dropped.append(self._call(["column", "drop"], name, extra))
        except BackfillError as error:
            error.result = dropped
            raise
        return dropped

    def register(
        self,
        function: Callable[..., Any],
        *,
        code: str | os.PathLike[str] | None = None,
        env: str | None = None,
        requirements: str | os.PathLike[str] | None = None,
        target: str | None = None,
        python: str | None = None,
    ) -> Registered:
        """Packs a function into the table's state store, and declares nothing.

        What it returns stands for the function in `add_columns` and `alter_columns`.
        """
        packing = Packing(code, env, requirements, target, python)
        if not callable(function):
            raise BadInput("only a function or a class can be packed")
        with options_of_function(function, None, packing) as given:
            return cast("Registered", self._call(["register"], (), given))

    # Computing.

    def refresh(
        self,
        column: str | None = None,
        *,
        batch_rows: int | None = None,
        progress: bool | None = None,
    ) -> Refreshed:
        """Brings all columns up to date, or one: new rows, changed inputs, open jobs.

        Args:
            column: Only this one; those that it reads are left as they are.
            batch_rows: Most rows of one batch, which is what is lost when a process dies.
            progress: Whether a bar is shown.
        """
        extra = options(column=column, batch_rows=batch_rows)
        bar = self._bar(column or "refresh", wanted=progress)
        child = self._binary.start(["refresh"], [self.uri], extra)
        try:
            with child.interrupted_with_us():
                follow(child, bar, _Remaining(self, column).ask)
        except KeyboardInterrupt:
            call = f"refresh({column!r})" if column else "refresh()"
            raise KeyboardInterrupt(f"stopped; what was committed stays, {call} goes on") from None
        return cast("Refreshed", child.result())

    def backfill(
        self,
        column: str,
        *,
        where: str | None = None,
        recompute: bool = False,
        ignore_filter: bool = False,
        generation: str | None = None,
        job: Job | str | None = None,
        batch_rows: int | None = None,
        progress: bool | None = None,
    ) -> Backfilled:
        """Computes a chosen part of a column, as a job, and waits for it.

        Ctrl-C stops it: what was committed stays, and so does the open job, with which `refresh`
        goes on.

        Args:
            column: The column.
            where: Only rows that match this SQL filter, beside the stored one.
            recompute: Every matching row, also current ones; else those that need a value.
            ignore_filter: Also rows that the stored filter leaves out.
            generation: Only rows whose value this generation made; `status` lists them.
            job: Only rows whose value this job made.
            batch_rows: Most rows of one batch, which is what is lost when a process dies.
            progress: Whether a bar is shown.
        """
        selection = _selection(
            where=where,
            recompute=recompute,
            ignore_filter=ignore_filter,
            generation=generation,
            job=job,
        )
        extra = [*selection, *options(batch_rows=batch_rows)]
        return self._follow("backfill", column, extra, progress=progress)

    def backfill_async(
        self,
        column: str,
        *,
        where: str | None = None,
        recompute: bool = False,
        ignore_filter: bool = False,
        generation: str | None = None,
        job: Job | str | None = None,
        batch_rows: int | None = None,
    ) -> Job:
        """Like `backfill`, but returns as soon as the job is recorded; a process works on it.

        That process is one of its own: it goes on when the returned object, or this process, is
        gone.  If it is killed, the job stays open, and the next `refresh` goes on with it.
        """
        selection = _selection(
            where=where,
            recompute=recompute,
            ignore_filter=ignore_filter,
            generation=generation,
            job=job,
        )
        extra = [*selection, *options(batch_rows=batch_rows)]
        child = self._binary.start(["backfill"], [self.uri, column], extra, own_session=True)
        return ordered(self, column, child)

    def retry(self, column: str, *, progress: bool | None = None) -> Backfilled:
        """Computes exactly the failed rows of a column again, as a job, and waits for it."""
        return self._follow("retry", column, [], progress=progress)

    def retry_async(self, column: str) -> Job:
        """Like `retry`, but returns as soon as the job is recorded; see `backfill_async`."""
        child = self._binary.start(["retry"], [self.uri, column], own_session=True)
        return ordered(self, column, child)

    # Looking.

    def plan(
        self,
        column: str | None = None,
        *,
        where: str | None = None,
        recompute: bool = False,
        ignore_filter: bool = False,
        generation: str | None = None,
        job: Job | str | None = None,
        cost_per_hour: float | None = None,
    ) -> Plan:
        """What `refresh` would do, or `backfill` with the same arguments; computes nothing."""
        selection = _selection(
            where=where,
            recompute=recompute,
            ignore_filter=ignore_filter,
            generation=generation,
            job=job,
        )
        extra = [*selection, *options(column=column, cost_per_hour=cost_per_hour)]
        return cast("Plan", self._call(["plan"], (), extra))

    def canary(
        self,
        column: str,
        function: Function,
        inputs: Sequence[str] | None = None,
        *,
        rows: int | None = None,
        code: str | os.PathLike[str] | None = None,
        env: str | None = None,
        requirements: str | os.PathLike[str] | None = None,
        cost_per_hour: float | None = None,
    ) -> Canary:
        """Runs another function on some rows beside the present one, and stores nothing.

        Args:
            column: The column.
            function: What would compute it, as for `add_columns`.
            inputs: As for `add_columns`.
            rows: How many rows are sampled.
            code: As for `add_columns`.
            env: As for `add_columns`.
            requirements: As for `add_columns`.
            cost_per_hour: Price of an hour, to estimate what all rows would cost.

        Returns:
            The differences, and the measured speed.
        """
        packing = Packing(code, env, requirements)
        check_functions([function], inputs, packing)
        extra = options(rows=rows, cost_per_hour=cost_per_hour)
        with options_of_function(function, inputs, packing) as given:
            document = self._call(["column", "canary"], column, [*given, *extra])
        return cast("Canary", document)

    def columns(self) -> list[Declared]:
        """The computed columns, with their definitions."""
        return cast("list[Declared]", self._call(["column", "list"])["columns"])

    def status(self) -> Status:
        """What the rows of each column hold and need."""
        return cast("Status", self._call(["status"]))

    def failures(self, column: str | None = None) -> pa.Table:
        """The rows that could not be computed, of one column or of all, with their errors."""
        wanted = [column] if column is not None else [own["column"] for own in self.columns()]
        return failures_table([self._call(["failures"], name) for name in wanted])

    def jobs(self) -> list[Job]:
        """The jobs of the table's columns, whoever ordered them."""
        found = self._call(["jobs", "list"])["jobs"]
        return [Job(self, job["column"], job["job_id"]) for job in found]

    def job(self, job_id: str) -> Job:
        """A job by its id.

        Raises:
            BadInput: nobody knows of it.
        """
        document = self._call(["jobs", "show"], job_id)
        return Job(self, document["column"], document["job_id"])

    # Operating.

    def approve(self, column: str, *, up_to: int | None = None) -> Approved:
        """Lets unattended work compute the rows that wait for approval, or so many of them."""
        return cast("Approved", self._call(["approve"], column, options(up_to=up_to)))

    def pause(self, column: str | None = None, *, duration: str | None = None) -> dict[str, Any]:
        """Publishes nothing to the table for a while; or leaves a column alone until `resume`.

        Args:
            column: The column; the whole table without.
            duration: How long the table is paused at most, such as `"90s"`, `"30m"` or `"2h"`.
        """
        if column is None:
            return cast("dict[str, Any]", self._call(["pause"], (), options(**{"for": duration})))
        if duration is not None:
            raise BadInput("a column is paused until it is resumed: leave duration out")
        return cast("dict[str, Any]", self._call(["column", "pause"], column))

    def resume(self, column: str | None = None) -> dict[str, Any]:
        """Ends a pause of the table; or a pause or a hold of a column."""
        command = ["resume"] if column is None else ["column", "resume"]
        return cast("dict[str, Any]", self._call(command, column or ()))

    # Calling.

    def _call(
        self,
        command: Sequence[str],
        target: str | tuple[str, ...] = (),
        extra: Sequence[str] = (),
    ) -> Any:
        targets = (target,) if isinstance(target, str) else target
        return self._binary.call(command, [self.uri, *targets], extra)

    def _follow(
        self, command: str, column: str, extra: Sequence[str], *, progress: bool | None
    ) -> Backfilled:
        bar = self._bar(column, wanted=progress)
        child = self._binary.start([command], [self.uri, column], extra)
        return ordered(self, column, child).follow(bar)

    def _bar(self, label: str, *, wanted: bool | None) -> Bar:
        return bar_of(label, wanted=self._progress if wanted is None else wanted)


class _Remaining:
    """Asks how many rows of columns remain: a refresh is no job, so nobody counts what it did."""

    def __init__(self, table: Table, column: str | None) -> None:
        self._table = table
        self._column = column
        self._total = 0

    def ask(self) -> tuple[int, int, int]:
        columns = [
            column
            for column in self._table.status()["columns"]
            if self._column in {None, column["column"]}
        ]
        remaining = sum(column["rows_remaining"] for column in columns)
        failed = sum(column["rows_failed"] for column in columns)
        self._total = max(self._total, remaining)
        return self._total - remaining, self._total, failed


def _selection(
    *,
    where: str | None,
    recompute: bool,
    ignore_filter: bool,
    generation: str | None,
    job: Job | str | None,
) -> list[str]:
    return options(
        where=where,
        recompute=recompute,
        ignore_filter=ignore_filter,
        generation=generation,
        job=job.id if isinstance(job, Job) else job,
    )


def _joined(names: str | tuple[str, ...]) -> str:
    if isinstance(names, str):
        return names
    for name in names:
        check_name(name)
    return ",".join(names)


def _first(document: Declared) -> str:
    """One of the columns that a definition computes: they are filled together."""
    outputs = document["definition"].get("outputs") or [document["column"]]
    return str(outputs[0])


def _names(columns: Iterable[str] | str) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _functions(
    columns: Mapping[str | tuple[str, ...], Function] | Iterable[str] | str,
) -> dict[str | tuple[str, ...], Function | None]:
    if isinstance(columns, Mapping):
        return dict(columns)
    return dict.fromkeys(_names(columns))
