//! One value of each stored form that uses all of it.

use std::collections::{BTreeMap, BTreeSet};

use super::Form;
use crate::batch::{BatchMessage, BatchSpec, FoldPart, FoldSpec, Lane, Slice, Target, Work};
use crate::checkpoint::{
    CheckpointManifest, Fault, FaultKind, SliceOutput, SliceResult, StagedColumnFile, ValuesFile,
};
use crate::coverage::RowErrors;
use crate::definition::home::{Home, Records, TablePlace};
use crate::definition::{Definition, Earlier, Function, Input, OnError, OnUnknown, Pool};
use crate::deployment::{Deployment, SpendingStop};
use crate::format::Stored;
use crate::ids::LedgerSeq;
use crate::job::{JobEnd, JobOutcome, Selection, Take};
use crate::journey::{Journey, Site};
use crate::ledger::{EntryBody, HoldReason, LedgerEntry, OpenBreaker, Page, Request};
use crate::message::{CommitMessage, PlanMessage, RegisteredTable, Wake};
use crate::pause::{PauseBody, PauseEntry};
use crate::permit::{Permit, Program};
use crate::route::RAY_CPU;
use crate::rows::RowSet;
use crate::table::SeenVersion;
use crate::testing::{batch, binding, class_queues, deployment, generation, identity, job};
use crate::worker_status::WorkerStatus;

const TABLE: &str = "s3://bucket/flights.lance";

pub(super) mod coverage;

pub(super) fn all() -> Vec<Form> {
    let compute = Work::Compute(compute_spec());
    let fold = Work::Fold(fold_spec());
    let page = EntryBody::Page(Page {
        generation: generation(1),
        job: Some(job(1)),
        lane: Lane::Bulk,
        batches: vec![compute_spec()],
        folds: vec![fold_spec()],
        approved_left: 5,
    });
    let hold = EntryBody::Hold {
        reason: HoldReason::Budget,
        message: "7 of 100 rows failed".to_owned(),
    };
    let approval = EntryBody::Approval { rows: 1_000_000 };
    vec![
        Form::json("definition-sql.json", sql()),
        Form::json("definition-python.json", python()),
        Form::json("definition-group.json", group()),
        Form::json("home.json", home()),
        Form::json("ledger-page.json", entry(7, page)),
        Form::json("ledger-hold.json", entry(8, hold)),
        Form::json("ledger-resume.json", entry(9, EntryBody::Resume {})),
        Form::json("ledger-approval.json", entry(10, approval)),
        Form::json(
            "ledger-breaker.json",
            entry(13, EntryBody::Breaker(breaker())),
        ),
        Form::json(
            "ledger-breaker-closed.json",
            entry(14, EntryBody::BreakerClosed {}),
        ),
        Form::json(
            "ledger-request.json",
            entry(11, EntryBody::Request(request())),
        ),
        Form::json(
            "ledger-settled.json",
            entry(12, EntryBody::Settled { approved_left: 4 }),
        ),
        Form::json("job-end.json", job_end()),
        Form::json(
            "message-compute.json",
            message(Some(1), Lane::Fresh, Some(compute)),
        ),
        Form::json("message-fold.json", message(None, Lane::Bulk, Some(fold))),
        Form::json("message-listed.json", message(None, Lane::Bulk, None)),
        Form::json(
            "message-plan.json",
            PlanMessage::new(TABLE.to_owned(), Wake::Requested),
        ),
        Form::json("message-commit.json", commit_message()),
        Form::json("table.json", RegisteredTable::new(TABLE.to_owned())),
        Form::json(
            "table-removed.json",
            RegisteredTable {
                removed: true,
                ..RegisteredTable::new(TABLE.to_owned())
            },
        ),
        Form::json("service.json", service()),
        Form::json(
            "service-paused.json",
            SpendingStop {
                version: SpendingStop::VERSION,
                since_ms: 1_795_000_000_000,
                reason: Some("the bill".to_owned()),
            },
        ),
        Form::json("permit.json", permit()),
        Form::json("worker.json", worker()),
        Form::json("checkpoint.json", checkpoint()),
        Form::json("coverage-file.json", coverage::record_of_a_file()),
        Form::json("coverage-identity.json", coverage::record_by_identity()),
        Form::json(
            "pause.json",
            PauseEntry::new(PauseBody::Pause { for_s: 1_800 }),
        ),
        Form::json("pause-resume.json", PauseEntry::new(PauseBody::Resume {})),
        Form::snapshot("snapshot.arrow", coverage::snapshot()),
    ]
}

fn service() -> Deployment {
    let class = |class: &str| (class.to_owned(), class_queues(class));
    Deployment {
        classes: ["a10g", RAY_CPU].map(class).into(),
        ..deployment()
    }
}

fn worker() -> WorkerStatus {
    WorkerStatus {
        version: WorkerStatus::VERSION,
        class: "a10g".to_owned(),
        name: "a10g-1f6c-0".to_owned(),
        node: Some("ip-10-0-3-7".to_owned()),
        pod: Some("embeddings-a10g-worker-x7x2p".to_owned()),
        device: Some("0".to_owned()),
        since_ms: 1_795_000_000_000,
        seen_ms: 1_795_000_090_000,
        busy: [batch(7, 2), batch(7, 3)].into(),
        batches_done: 41,
        functions_loaded: [generation(1)].into(),
        draining: true,
    }
}

pub(super) fn permit() -> Permit {
    Permit {
        version: Permit::VERSION,
        function: "f".repeat(64),
        program: Program {
            entrypoint: "udfs:caption".to_owned(),
            artifact: "a".repeat(64),
            environment: "e".repeat(64),
        },
        secrets: BTreeSet::from(["OPENAI_KEY".to_owned()]),
        env: BTreeMap::from([("PLACE".to_owned(), "here".to_owned())]),
    }
}

fn selection() -> Selection {
    Selection {
        take: Take::Recompute,
        filter: Some("origin = 'JFK'".to_owned()),
        ignore_filter: true,
        generation: Some(generation(2)),
        job: Some(job(3)),
    }
}

fn request() -> Request {
    Request {
        selection: selection(),
        rows: 17,
    }
}

fn breaker() -> OpenBreaker {
    OpenBreaker {
        generation: generation(1),
        faults: 3,
        wait_ms: 240_000,
        message: "every row failed, and trying again did not help: Unavailable: 503".to_owned(),
    }
}

fn job_end() -> JobEnd {
    JobEnd {
        version: JobEnd::VERSION,
        binding: binding(),
        job: job(11),
        selection: selection(),
        rows: 17,
        outcome: JobOutcome::Cancelled,
        rows_assigned: 12,
        rows_failed: 3,
    }
}

fn input(id: i32, name: &str) -> Input {
    Input {
        id,
        name: name.to_owned(),
    }
}

pub(super) fn sql() -> Definition {
    let inputs = vec![input(5, "dep_delay"), input(8, "arr_delay")];
    let canonical = "dep_delay - arr_delay";
    let mut definition = Definition::sql("recovered", "float64", canonical, canonical, inputs);
    definition.filter = Some("arr_delay IS NOT NULL".to_owned());
    definition.filter_inputs = vec![input(8, "arr_delay")];
    definition.accepted_generations = [
        (generation(1), definition.inputs.clone()),
        (
            generation(2),
            vec![input(8, "arr_delay"), input(9, "carrier")],
        ),
    ]
    .into();
    definition.earlier = vec![Earlier {
        watched: vec![input(5, "dep_delay"), input(8, "arr_delay")],
        filter: Some("arr_delay > 0".to_owned()),
        filter_inputs: vec![input(8, "arr_delay")],
    }];
    definition.declared_max_fragment = Some(41);
    definition.resources.memory_mib = Some(1024);
    definition
}

/// Several columns, of a function that returns more than these.
fn group() -> Definition {
    let mut definition = python();
    definition.outputs = vec!["width".to_owned(), "height".to_owned()];
    definition.output_types = vec!["int32".to_owned(), "int32".to_owned()];
    definition.returns = Some("struct<height: int32, width: int32, format: string>".to_owned());
    definition
}

pub(super) fn python() -> Definition {
    let mut definition = sql();
    definition.function = Function::Python {
        entrypoint: "captions:caption".to_owned(),
        artifact: "a1".to_owned(),
        environment: "e1".to_owned(),
        version: Some("3".to_owned()),
    };
    definition.outputs = vec!["caption".to_owned()];
    definition.output_types = vec!["string".to_owned()];
    definition.filter = None;
    definition.filter_inputs = vec![];
    definition.auto = false;
    definition.pool = Pool::RayCpu;
    definition.resources.gpus = 0.5;
    definition.resources.gpu_class = Some("a10g".to_owned());
    definition.secrets = vec!["api-key".to_owned()];
    definition.error_policy.on_error = OnError::Fail;
    definition.error_policy.max_failed_rows = Some(10);
    definition.error_policy.max_failed_fraction = None;
    definition.error_policy.row_timeout_s = Some(2.5);
    definition.on_unknown = OnUnknown::Recompute;
    definition.approve_above_rows = Some(-1);
    definition.call.batch_size = Some(64);
    definition.call.init_timeout_s = Some(120.0);
    definition.call.retry_on = vec!["TimeoutError".to_owned()];
    definition.call.env = [("MODE".to_owned(), "fast \"é\"".to_owned())].into();
    definition
}

fn entry(seq: u64, body: EntryBody) -> LedgerEntry {
    LedgerEntry {
        version: LedgerEntry::VERSION,
        binding: binding(),
        seq: LedgerSeq(seq),
        token: "ab12".to_owned(),
        after: None,
        table_version: 12,
        session: (seq == 7).then(|| "s1".to_owned()),
        body,
    }
}

fn compute_spec() -> BatchSpec {
    let slice = |fragment, rows, target, out| Slice {
        fragment,
        in_id: identity(3),
        out,
        rows,
        target,
    };
    BatchSpec {
        slices: vec![
            slice(4, RowSet::full(1_000), Target::ColumnFile, None),
            slice(6, some_rows(), Target::Values, Some(identity(4))),
        ],
        deadline_s: 300,
    }
}

fn journey() -> Journey {
    let site = |fragment, in_id| Site {
        fragment,
        in_id: identity(in_id),
    };
    Journey {
        from: site(2, 7),
        to: site(6, 3),
        old: RowSet::range(10..30),
        new: RowSet::range(50..70),
    }
}

fn fold_spec() -> FoldSpec {
    FoldSpec {
        fragment: 6,
        in_id: identity(3),
        out: Some(identity(4)),
        parts: vec![
            FoldPart {
                batch: batch(5, 0),
                journey: None,
            },
            FoldPart {
                batch: batch(6, 11),
                journey: Some(journey()),
            },
        ],
        rows: RowSet::range(0..90),
        deadline_s: 300,
    }
}

fn message(job_number: Option<u8>, lane: Lane, work: Option<Work>) -> BatchMessage {
    BatchMessage {
        version: BatchMessage::VERSION,
        batch: batch(7, 2),
        table: TABLE.to_owned(),
        binding: binding(),
        generation: generation(1),
        job: job_number.map(job),
        lane,
        work,
        seen: job_number.map(|_| SeenVersion {
            version: 42,
            size_bytes: 2_048,
            tag: Some("\"5d41402abc4b2a76b9719d911017c592\"".to_owned()),
        }),
        entry: job_number.map(|_| entry(7, EntryBody::Resume {})),
    }
}

fn commit_message() -> CommitMessage {
    CommitMessage {
        version: CommitMessage::VERSION,
        table: TABLE.to_owned(),
        binding: binding(),
        batch: Some(batch(7, 2)),
        checkpoint: Some(checkpoint()),
        entry: Some(entry(7, EntryBody::Resume {})),
    }
}

/// Few ranges; each end is exclusive.
fn some_rows() -> RowSet {
    [0, 1, 2, 9, 4_294_967_294].into_iter().collect()
}

fn errors(rows: RowSet, kind: &str, attempts: u32) -> RowErrors {
    RowErrors {
        rows,
        kind: kind.to_owned(),
        message: "the value does not fit".to_owned(),
        traceback: None,
        attempts,
    }
}

fn checkpoint() -> CheckpointManifest {
    let slice = |fragment, output| SliceResult {
        fragment,
        in_id: identity(3),
        values: RowSet::new(),
        nulls: RowSet::new(),
        failed: vec![],
        output,
    };
    let file = SliceOutput::ColumnFile(StagedColumnFile {
        name: "0f.lance".to_owned(),
        size_bytes: 4_096,
        physical_rows: 1_000,
        over: Some(identity(4)),
        descriptor: "{\"path\":\"0f.lance\"}".to_owned(),
    });
    let values = SliceOutput::Values(ValuesFile {
        path: "values/7-ab12-2/0c-1.arrow".to_owned(),
        rows: some_rows(),
        size_bytes: 512,
    });
    CheckpointManifest {
        version: CheckpointManifest::VERSION,
        batch: batch(7, 2),
        binding: binding(),
        generation: generation(1),
        job: Some(job(1)),
        attempt: "0c".to_owned(),
        read_version: 12,
        slices: vec![
            SliceResult {
                values: RowSet::range(0..900),
                nulls: RowSet::range(900..950),
                ..slice(4, file)
            },
            SliceResult {
                values: [0, 1].into_iter().collect(),
                nulls: [2].into_iter().collect(),
                failed: vec![
                    errors([9].into_iter().collect(), "overflow", 1),
                    errors(RowSet::range(4_294_967_294..4_294_967_295), "timeout", 3),
                ],
                ..slice(6, values)
            },
            SliceResult {
                nulls: RowSet::full(10),
                ..slice(7, SliceOutput::Nothing)
            },
            slice(8, SliceOutput::Obsolete),
        ],
        fault: Some(Fault {
            kind: FaultKind::Environment,
            message: "no such package".to_owned(),
            traceback: Some("ModuleNotFoundError: no such package".to_owned()),
        }),
        calls: 17,
        elapsed_ms: 1_250,
        finished_ms: 1_764_368_000_000,
        bytes_written: 4_608,
    }
}

fn home() -> Home {
    let id = |text: &str| text.parse().expect("an id");
    let place = |table: &str, branch: Option<&str>| TablePlace {
        table: table.to_owned(),
        branch: branch.map(str::to_owned),
    };
    Home::first(id("5c0ffee5"), place("/data/flights.lance", None))
        .claimed(
            id("7ab1e000"),
            place("s3://lake/flights.lance", Some("june")),
            Records::AtHome,
        )
        .claimed(
            id("90071e55"),
            place("/data/copy.lance", None),
            Records::CopiedAlong,
        )
}
