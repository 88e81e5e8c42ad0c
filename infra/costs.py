"""What the service costs: from counted requests and the prices below, nothing else.

python3 infra/costs.py            print the tables
python3 infra/costs.py --check    compare them with README.md
python3 infra/costs.py --write    put them into README.md
"""

import sys
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- costs: scripts/costs --write -->\n", "<!-- /costs -->\n"

# Dollars in us-east-1 without free tiers. Check the current price lists.
S3_READ = 0.40e-6  # GET, HEAD; DELETE is free
S3_WRITE = 5.00e-6  # PUT, POST, COPY, LIST
SQS_STANDARD = 0.40e-6
SQS_FIFO = 0.50e-6
LAMBDA_REQUEST = 0.20e-6
LAMBDA_GB_S = 0.0000166667
LOG_GB = 0.50
ALARM_MONTH = 0.10
METRIC_MONTH = 0.30
DASHBOARD_MONTH = 3.00
KEY_MONTH = 1.00
KMS_REQUEST = 3.00e-6

# Sizes of the functions, as variables.tf has them by default.
PLANNER_GB = COMMITTER_GB = 1769 / 1024
WORKER_GB = 3008 / 1024
HOURS_MONTH = 730
SCHEDULE_MIN = 5
# Lambda polls a queue with five connections at least, each of which waits up to 20 s.
POLLERS = 5
POLL_S = 20
# Bytes of log lines of an invocation, metrics included.
LOG_BYTES = 2_000


@dataclass
class Requests:
    """Requests of one kind of occasion; deletes of S3 are free and not in it."""

    s3_reads: float = 0
    s3_writes: float = 0
    sqs_standard: float = 0
    sqs_fifo: float = 0
    planner_s: float = 0
    worker_s: float = 0
    committer_s: float = 0
    invocations: float = 0

    def __mul__(self, times):
        return Requests(**{name: value * times for name, value in vars(self).items()})

    def __add__(self, other):
        return Requests(**{name: value + vars(other)[name] for name, value in vars(self).items()})

    def s3(self):
        return self.s3_reads * S3_READ + self.s3_writes * S3_WRITE

    def sqs(self):
        return self.sqs_standard * SQS_STANDARD + self.sqs_fifo * SQS_FIFO

    def functions(self):
        gb_s = self.planner_s * PLANNER_GB + self.worker_s * WORKER_GB + self.committer_s * COMMITTER_GB
        logs = self.invocations * LOG_BYTES / 1e9 * LOG_GB
        return self.invocations * LAMBDA_REQUEST + gb_s * LAMBDA_GB_S + logs

    def kms(self):
        """With bucket and queue keys of your own, at worst: one request for each."""
        return (self.s3_reads + self.s3_writes + self.sqs_standard + self.sqs_fifo) * KMS_REQUEST


# Counted on the emulator (ARCHITECTURE.md, "Requests of one cycle"); times are those of warm functions.
# An append, until the look at the service's own commit is over.
CYCLE = Requests(
    s3_reads=14, s3_writes=11, sqs_standard=6, sqs_fifo=3,
    planner_s=0.3, worker_s=0.3, committer_s=0.3, invocations=4,
)  # fmt: skip
# A further batch of the same page.
BATCH = Requests(s3_reads=4, s3_writes=2, sqs_standard=3, sqs_fifo=3, worker_s=0.2, invocations=1)
# A look of the schedule at a table with nothing to do.
LOOK = Requests(s3_reads=5, s3_writes=1, planner_s=0.1)
# The schedule itself: its message, and the list of the tables with their registrations.
RUN = Requests(s3_writes=1, sqs_standard=3, planner_s=0.02, invocations=1)


def dollars(value):
    return "$0" if value == 0 else f"${value:.2f}" if value >= 0.1 else f"${value:.2g}" if value >= 0.001 else f"${value:.1e}"


def table(head, rows):
    yield "| " + " | ".join(head) + " |\n"
    yield "| " + " | ".join(["---"] + ["---:"] * (len(head) - 1)) + " |\n"
    for row in rows:
        yield "| " + " | ".join(row) + " |\n"


def million(name, cycles, batches, ms_per_row):
    """A million rows in so many appends and so many batches, with so much of a worker's time each."""
    used = CYCLE * cycles + BATCH * (batches - cycles) + Requests(worker_s=1e6 * ms_per_row / 1e3)
    parts = [used.s3(), used.sqs(), used.functions()]
    return [name, *map(dollars, parts), f"**{dollars(sum(parts))}**"]


def rows_table():
    yield "Of one million rows, by how they come and what a row takes of a worker:\n\n"
    yield from table(
        ["Rows", "S3", "SQS", "Lambda and logs", "Together"],
        [
            million("10,000 an append, an SQL expression of 2 µs", 100, 100, 0.002),
            million("100 an append, the same", 10_000, 10_000, 0.002),
            million("A backfill in batches of 60 s, 1 ms a row", 1, 17, 1.0),
            million("A backfill in batches of 60 s, 100 ms a row", 1, 1_667, 100.0),
        ],
    )


def idle(tables):
    """A month in which nothing happens to so many tables."""
    runs = HOURS_MONTH * 60 / SCHEDULE_MIN
    # The registrations are read with each list.
    look = (RUN + LOOK * tables + Requests(s3_reads=tables)) * runs
    polls = HOURS_MONTH * 3600 / POLL_S * POLLERS
    # Two of plans and commits, one of each lane; three functions with two; the schedule, a bucket; ours.
    alarms = 6 + 6 + 2 + 3
    # What the schedule writes at 0 too; the others cost nothing while nobody writes them.
    metrics = 4
    return {
        f"Pollers of Lambda: {3 * polls:,.0f} requests to three queues, {polls:,.0f} to the FIFO queue": 3 * polls * SQS_STANDARD + polls * SQS_FIFO,
        f"S3: a list of the tables and a look at each, {runs:,.0f} times": look.s3(),
        "SQS: messages of the schedule": look.sqs(),
        "Lambda and logs of the planner": look.functions(),
        f"{alarms} alarms": alarms * ALARM_MONTH,
        f"{metrics} metrics": metrics * METRIC_MONTH,
        "Dashboard": DASHBOARD_MONTH,
    }, (2 * KEY_MONTH + KMS_REQUEST * (look.s3_reads + look.s3_writes + look.sqs_standard))


def idle_table():
    yield "Of a month in which nothing happens, with a look at each table every five minutes:\n\n"
    one, one_keys = idle(1)
    many, many_keys = idle(100)
    rows = []
    for name_of_one, name_of_many in zip(one, many):
        assert name_of_one == name_of_many
        rows.append([name_of_one, dollars(one[name_of_one]), dollars(many[name_of_many])])
    rows.append(["**Together**", f"**{dollars(sum(one.values()))}**", f"**{dollars(sum(many.values()))}**"])
    rows.append(["With two keys of your own, at most", "+ " + dollars(one_keys), "+ " + dollars(many_keys)])
    yield from table(["", "1 table", "100 tables"], rows)


def tables():
    return "".join([*rows_table(), "\n", *idle_table()])


def main(arguments):
    if not arguments:
        print(tables(), end="")
        return 0
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = before + BEGIN + tables() + END + after
    if arguments == ["--write"]:
        README.write_text(wanted)
        return 0
    if arguments != ["--check"]:
        print(__doc__, file=sys.stderr)
        return 2
    if text != wanted:
        print("infra/README.md: the costs are not those of infra/costs.py: run scripts/costs --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
