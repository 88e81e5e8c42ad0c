//! Records and a snapshot.

use super::errors;
use crate::coverage::{CoverageRecord, Outcome, Run};
use crate::format::Stored;
use crate::ids::LedgerSeq;
use crate::rate::Rate;
use crate::rows::RowSet;
use crate::snapshot::{CoverageSnapshot, Entry, Head, OtherGeneration};
use crate::testing::{binding, generation, identity, job};

/// So many ranges that they are stored as a bitmap, with a long run in it.
fn scattered_rows() -> RowSet {
    let mut rows: RowSet = (0..400).map(|place| place * 7).collect();
    rows.extend(&RowSet::range(100_000..180_000));
    rows
}

pub(in crate::golden) fn record_of_a_file() -> CoverageRecord {
    let run = |rows, outcome, ledger| Run {
        rows,
        outcome,
        generation: (ledger > 0).then(|| generation(1)),
        in_id: identity(3),
        ledger: LedgerSeq(ledger),
        job: (ledger > 5).then(|| job(1)),
    };
    CoverageRecord {
        version: CoverageRecord::VERSION,
        binding: binding(),
        fragment: 6,
        physical_rows: 200_000,
        file: Some("0f.lance".to_owned()),
        in_id: identity(3),
        elig_id: Some(identity(5)),
        out: None,
        runs: vec![
            run(scattered_rows(), Outcome::Value, 7),
            run(RowSet::range(3_000..4_000), Outcome::Null, 7),
            run(RowSet::range(4_000..4_002), Outcome::Failed, 5),
            run(RowSet::range(5_000..5_010), Outcome::Supplied, 0),
            run(RowSet::range(6_000..6_010), Outcome::Unknown, 0),
        ],
        filtered: RowSet::range(190_000..200_000),
        errors: vec![errors(RowSet::range(4_000..4_002), "overflow", 1)],
    }
}

pub(in crate::golden) fn record_by_identity() -> CoverageRecord {
    CoverageRecord {
        file: None,
        elig_id: None,
        out: Some(identity(4)),
        runs: vec![],
        filtered: scattered_rows(),
        errors: vec![],
        ..record_of_a_file()
    }
}

pub(super) fn snapshot() -> CoverageSnapshot {
    let other = |outcome, rows| OtherGeneration {
        generation: generation(2),
        outcome,
        rows,
    };
    let plain = Entry {
        fingerprint: u64::MAX,
        live: 1_000,
        filtered: 90,
        rows: [800, 50, 10, 20, 30],
        others: vec![],
    };
    let mixed = Entry {
        fingerprint: 1,
        live: 9,
        filtered: 0,
        rows: [4, 0, 0, 0, 0],
        others: vec![other(Outcome::Value, 3), other(Outcome::Null, 2)],
    };
    CoverageSnapshot {
        head: Head {
            table_version: 12,
            max_fragment: Some(9),
            generation: Some(generation(1)),
            rate: Some(Rate {
                rows: 1_000,
                elapsed_ms: 250,
                slowest: 3_000.5,
                fastest: 5_000.0,
            }),
        },
        entries: [(4, plain), (9, mixed)].into(),
    }
}
