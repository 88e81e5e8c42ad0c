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


# Seconds of one request to S3; a function asks one after another.
S3_S = 0.03


@dataclass
class Used:
    """What is used on some occasion; deletes of S3 are free and not in it."""

    gets: float = 0
    puts: float = 0
    lists: float = 0
    sqs_standard: float = 0
    sqs_fifo: float = 0
    planner_s: float = 0
    worker_s: float = 0
    committer_s: float = 0
    invocations: float = 0

    def __mul__(self, times):
        return Used(**{name: value * times for name, value in vars(self).items()})

    def __add__(self, other):
        return Used(**{name: value + vars(other)[name] for name, value in vars(self).items()})

    def s3(self):
        return self.gets * S3_READ + (self.puts + self.lists) * S3_WRITE

    def sqs(self):
        return self.sqs_standard * SQS_STANDARD + self.sqs_fifo * SQS_FIFO

    def functions(self):
        gb_s = self.planner_s * PLANNER_GB + self.worker_s * WORKER_GB + self.committer_s * COMMITTER_GB
        logs = self.invocations * LOG_BYTES / 1e9 * LOG_GB
        return self.invocations * LAMBDA_REQUEST + gb_s * LAMBDA_GB_S + logs

    def kms(self):
        """With keys of your own and without bucket keys: one request for each object and message."""
        return (self.gets + self.puts + self.sqs_standard + self.sqs_fifo) * KMS_REQUEST


# What was counted on the emulator: ARCHITECTURE.md, "Requests of one cycle", by who asks.
PLANNER = Used(gets=2, puts=1, lists=2, planner_s=5 * S3_S, invocations=1)
WORKER = Used(gets=2, puts=2, worker_s=4 * S3_S, invocations=1)
COMMITTER = Used(gets=3, puts=3, lists=3, committer_s=9 * S3_S, invocations=1)
PLANNER_OF_OUR_COMMIT = Used(gets=3, puts=1, lists=1, planner_s=5 * S3_S, invocations=1)
# Every eighth cycle.
COLLECTION = Used(puts=1, lists=4, planner_s=5 * S3_S)
# The event of the append is received and deleted; a batch and a finished one are sent, too.
MESSAGES = Used(sqs_standard=5, sqs_fifo=3)
EVENT_OF_OUR_COMMIT = Used(sqs_standard=2)
SENT_BY_S3 = Used(sqs_standard=2)
# An append, until the look at the service's own commit is over.
CYCLE = PLANNER + WORKER + COMMITTER + PLANNER_OF_OUR_COMMIT + COLLECTION * (1 / 8)
CYCLE += MESSAGES + EVENT_OF_OUR_COMMIT + SENT_BY_S3
# A further batch of the same page: its messages, its file, and that file's record.
BATCH = WORKER + Used(gets=1, puts=1, committer_s=2 * S3_S, sqs_standard=3, sqs_fifo=3)
# A look of the schedule at a table with nothing to do: versions, and the ledger. Its registration is read too.
LOOK = Used(gets=1, lists=2, planner_s=3 * S3_S)
# The schedule itself: its message, the dead letters of two lanes, and the list of the tables.
RUN = Used(lists=1, sqs_standard=5, planner_s=S3_S, invocations=1)
# More tables than this are handed on, in messages of which ten are one request each time.
MOST_TABLES = 10


def dollars(value):
    return "$0" if value == 0 else f"${value:.2f}" if value >= 0.1 else f"${value:.2g}" if value >= 0.001 else f"${value:.1e}"


def table(head, rows):
    yield "| " + " | ".join(head) + " |\n"
    yield "| " + " | ".join(["---"] + ["---:"] * (len(head) - 1)) + " |\n"
    for row in rows:
        yield "| " + " | ".join(row) + " |\n"


def requests_table():
    yield "Requests of one cycle, from an append until nothing is left to do, whatever the size of the table:\n\n"
    occasions = {
        "Planner, of the append": PLANNER,
        "Worker": WORKER,
        "Committer": COMMITTER,
        "Planner, of the service's own commit": PLANNER_OF_OUR_COMMIT,
        "Messages: an event, a batch, a finished batch": MESSAGES,
        "**A cycle**": PLANNER + WORKER + COMMITTER + PLANNER_OF_OUR_COMMIT + MESSAGES,
        "The event of the service's own commit": EVENT_OF_OUR_COMMIT,
        "Events that S3 sends, of which you pay the sending": SENT_BY_S3,
        "Every eighth cycle besides: collecting what is spent": COLLECTION,
        "A look of the schedule at a table with nothing to do": LOOK,
        "The schedule itself": RUN,
    }
    rows = []
    for name, used in occasions.items():
        numbers = [used.gets, used.puts, used.lists, used.sqs_standard + used.sqs_fifo]
        rows.append([name, *(f"{number:g}" for number in numbers)])
    yield from table(["", "GET, HEAD", "PUT", "LIST", "SQS"], rows)


def million(name, cycles, batches, ms_per_row):
    """A million rows in so many appends and so many batches, with so much of a worker's time each."""
    used = CYCLE * cycles + BATCH * (batches - cycles) + Used(worker_s=1e6 * ms_per_row / 1e3)
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
    handed_on = 0 if tables <= MOST_TABLES else tables / 10
    look = (RUN + LOOK * tables + Used(sqs_standard=3, invocations=1) * handed_on) * runs
    polls = HOURS_MONTH * 3600 / POLL_S * POLLERS
    # Two of plans and commits, one of each lane; three functions with two; the schedule, a bucket; ours.
    alarms = 6 + 6 + 2 + 3
    # What the schedule writes at 0 too; the others cost nothing while nobody writes them.
    metrics = 4
    return {
        f"Lambda's polls: {3 * polls:,.0f} of three queues, {polls:,.0f} of the FIFO queue": 3 * polls * SQS_STANDARD + polls * SQS_FIFO,
        f"S3: {runs:,.0f} lists of the tables, each with a look at all of them": look.s3(),
        "SQS: messages of the schedule": look.sqs(),
        "Lambda and logs of the planner": look.functions(),
        f"{alarms} alarms": alarms * ALARM_MONTH,
        f"{metrics} metrics": metrics * METRIC_MONTH,
        "Dashboard": DASHBOARD_MONTH,
    }, 2 * KEY_MONTH + look.kms()


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
    return "".join([*requests_table(), "\n", *rows_table(), "\n", *idle_table()])


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
