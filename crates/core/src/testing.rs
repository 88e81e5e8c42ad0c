//! Small worlds for the tests: ids, and records drawn row by row.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::coverage::{CoverageRecord, Outcome, RowErrors, Run};
use crate::definition::Definition;
use crate::deployment::{ClassQueues, Deployment, LaneUrls, QueueUrls};
use crate::format::Stored;
use crate::identity::Identity;
use crate::ids::{BatchId, BindingId, GenerationId, JobId, LedgerSeq};
use crate::rows::RowSet;
use crate::snapshot::OUTCOMES;
use crate::state::{Identities, OlderInputs};

/// The nth identity.
pub(crate) fn identity(number: u8) -> Identity {
    format!("{number:032x}").parse().expect("32 digits")
}

/// The nth generation.
pub(crate) fn generation(number: u8) -> GenerationId {
    format!("{number:032x}").parse().expect("32 digits")
}

/// The nth job.
pub(crate) fn job(number: u8) -> JobId {
    JobId {
        seq: LedgerSeq(u64::from(number)),
        token: "ab12".to_owned(),
    }
}

/// A service that runs Python functions, and has no GPUs.
pub(crate) fn deployment() -> Deployment {
    let urls = |end: &str| {
        let url = |name: &str| format!("https://sqs.eu-central-1.amazonaws.com/1/{name}{end}");
        QueueUrls {
            plans: url("plans"),
            fresh: url("fresh"),
            bulk: url("bulk"),
            commits: url("commits"),
        }
    };
    Deployment {
        version: Deployment::VERSION,
        name: "lance-backfill".to_owned(),
        queues: urls(""),
        dead_letters: urls("-dead"),
        python: true,
        secrets: ["OPENAI_KEY".to_owned()].into(),
        classes: [].into(),
        batches_at_once: 10,
    }
}

/// Queues of a class of workers.
pub(crate) fn class_queues(class: &str) -> ClassQueues {
    let urls = |end: &str| {
        let url =
            |lane: &str| format!("https://sqs.eu-central-1.amazonaws.com/1/{class}-{lane}{end}");
        LaneUrls {
            fresh: url("fresh"),
            bulk: url("bulk"),
        }
    };
    ClassQueues {
        queues: urls(""),
        dead_letters: urls("-dead"),
        batches_at_once: 8,
    }
}

/// A batch of a ledger entry.
pub(crate) fn batch(seq: u64, index: u32) -> BatchId {
    BatchId {
        seq: LedgerSeq(seq),
        token: "ab12".to_owned(),
        index,
    }
}

/// The one binding of the tests.
pub(crate) fn binding() -> BindingId {
    "b-1".parse().expect("a token")
}

/// What an accepted generation may have read, by generation: nothing where it read the present inputs.
pub(crate) type Reads = Vec<Option<OlderInputs>>;

/// Reads of three generations, in the identities that origins have.
pub(crate) fn reads() -> impl Strategy<Value = Reads> {
    let older = (0_u8..2, any::<bool>()).prop_map(|(in_id, certain)| OlderInputs {
        in_id: identity(in_id),
        certain,
    });
    prop::collection::vec(prop::option::of(older), 3)
}

/// Identities under a definition: the present inputs are the first, all watched ones together are
/// the first too where nothing else is watched, and else the second.
pub(crate) fn identities_of(
    reads: &Reads,
    definition: &Definition,
    own: &GenerationId,
) -> Identities {
    let mut identities = Identities::simple(identity(0), Some(identity(9)), Some(identity(8)));
    for (number, older) in (0_u8..).zip(reads) {
        let generation = generation(number);
        let accepted = definition.accepted_generations.contains_key(&generation);
        if let (Some(older), true) = (older, accepted && generation != *own) {
            identities.older.insert(generation, *older);
            identities.watched = identity(1);
        }
    }
    identities
}

/// What a run says of one row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) outcome: Outcome,
    pub(crate) generation: Option<GenerationId>,
    pub(crate) in_id: Identity,
    pub(crate) ledger: LedgerSeq,
    pub(crate) job: Option<JobId>,
}

/// What a record says of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) origin: Option<Origin>,
    /// Kind of the error; there is one exactly if the row failed.
    pub(crate) error: Option<String>,
    pub(crate) filtered: bool,
}

/// Origins from few generations, identities and entries, so that they often meet again.
pub(crate) fn origin() -> impl Strategy<Value = Origin> {
    (0..OUTCOMES.len(), 0_u8..3, 0_u8..2, 1_u64..4, 0_u8..3).prop_map(
        |(outcome, made_by, in_id, ledger, job_number)| {
            let outcome = OUTCOMES[outcome];
            let computed = !matches!(outcome, Outcome::Supplied | Outcome::Unknown);
            Origin {
                outcome,
                generation: computed.then(|| generation(made_by)),
                in_id: identity(in_id),
                ledger: LedgerSeq(if computed { ledger } else { 0 }),
                job: (computed && job_number > 0).then(|| job(job_number)),
            }
        },
    )
}

/// A row, mostly with an origin.
pub(crate) fn row() -> impl Strategy<Value = Row> {
    let origin = prop_oneof![1 => Just(None), 4 => origin().prop_map(Some)];
    (origin, 0_u8..2, prop::bool::weighted(0.2)).prop_map(|(origin, error, filtered)| {
        let failed = origin
            .as_ref()
            .is_some_and(|origin| origin.outcome == Outcome::Failed);
        Row {
            origin,
            error: failed.then(|| format!("kind_{error}")),
            filtered,
        }
    })
}

/// Rows of one fragment. Often long stretches of the same, as real fragments have.
pub(crate) fn fragment_rows() -> impl Strategy<Value = Vec<Row>> {
    let stretch = (row(), 1_usize..6).prop_map(|(row, length)| vec![row; length]);
    prop::collection::vec(stretch, 0..8).prop_map(|stretches| stretches.concat())
}

/// Any rows below a bound.
pub(crate) fn some_rows(below: u32) -> impl Strategy<Value = RowSet> {
    prop::collection::vec(any::<bool>(), below as usize).prop_map(|there| {
        (0_u32..)
            .zip(there)
            .filter_map(|(offset, there)| there.then_some(offset))
            .collect()
    })
}

/// Offsets of the rows of which something holds.
pub(crate) fn offsets(rows: &[Row], holds: impl Fn(&Row) -> bool) -> RowSet {
    (0_u32..)
        .zip(rows)
        .filter_map(|(offset, row)| holds(row).then_some(offset))
        .collect()
}

/// The runs of the rows that have an origin.
pub(crate) fn runs_of(rows: &[Row]) -> Vec<Run> {
    let mut runs = BTreeMap::<Origin, RowSet>::new();
    for (offset, row) in (0_u32..).zip(rows) {
        if let Some(origin) = &row.origin {
            runs.entry(origin.clone()).or_default().insert(offset);
        }
    }
    runs.into_iter()
        .map(|(origin, rows)| Run {
            rows,
            outcome: origin.outcome,
            generation: origin.generation,
            in_id: origin.in_id,
            ledger: origin.ledger,
            job: origin.job,
        })
        .collect()
}

/// The errors of the rows that have one.
pub(crate) fn errors_of(rows: &[Row]) -> Vec<RowErrors> {
    let mut errors = BTreeMap::<String, RowSet>::new();
    for (offset, row) in (0_u32..).zip(rows) {
        if let Some(kind) = &row.error {
            errors.entry(kind.clone()).or_default().insert(offset);
        }
    }
    errors
        .into_iter()
        .map(|(kind, rows)| RowErrors {
            rows,
            kind,
            message: "no".to_owned(),
            traceback: None,
            attempts: 1,
        })
        .collect()
}

/// The record of a fragment with these rows, under the first identity.
pub(crate) fn record_of(rows: &[Row]) -> CoverageRecord {
    CoverageRecord {
        version: CoverageRecord::VERSION,
        binding: binding(),
        fragment: 7,
        physical_rows: u32::try_from(rows.len()).expect("few"),
        file: None,
        in_id: identity(0),
        elig_id: Some(identity(9)),
        out: Some(identity(8)),
        runs: runs_of(rows),
        filtered: offsets(rows, |row| row.filtered),
        errors: errors_of(rows),
    }
}

/// What a record says of each row. Panics where it contradicts itself.
pub(crate) fn rows_of(record: &CoverageRecord) -> Vec<Row> {
    let mut rows = vec![Row::default(); record.physical_rows as usize];
    for run in &record.runs {
        assert!(!run.rows.is_empty(), "a run is empty");
        for offset in run.rows.iter() {
            let origin = Origin {
                outcome: run.outcome,
                generation: run.generation.clone(),
                in_id: run.in_id,
                ledger: run.ledger,
                job: run.job.clone(),
            };
            let before = rows[offset as usize].origin.replace(origin);
            assert_eq!(before, None, "two runs have row {offset}");
        }
    }
    for errors in &record.errors {
        assert!(!errors.rows.is_empty(), "an error has no rows");
        for offset in errors.rows.iter() {
            let before = rows[offset as usize].error.replace(errors.kind.clone());
            assert_eq!(before, None, "row {offset} has two errors");
        }
    }
    for offset in record.filtered.iter() {
        rows[offset as usize].filtered = true;
    }
    rows
}
