//! Fragments that have values of some columns of a group and of others none.
//!
//! Lance replaces columns together only where files hold all of them, or none. Where rows came in with
//! some of them, the others are first given a file of NULLs, which no reader can tell from no file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::{RecordBatch, new_null_array};
use arrow_schema::{Field as ArrowField, Schema as ArrowSchema};
use futures::{StreamExt, stream};
use lance::Dataset;
use lance::dataset::transaction::DataReplacementGroup;
use lance_backfill_ports::table::{BatchStream, PublishOutcome};
use lance_backfill_ports::width::{fixed_width, rows_within};
use lance_backfill_ports::{Error, Result};
use lance_core::datatypes::Field;
use lance_table::format::Fragment;

use super::{Replaced, data_file, replace, write};

/// Rows of NULL that are written at once, and their bytes where all have the same width.
const NULLS_AT_ONCE: u32 = 65_536;
const BYTES_AT_ONCE: u64 = 32 << 20;

/// Whether all fragments have all columns, or none.
pub(super) enum Completed {
    /// They had.
    Was,
    /// They have, in this version, which is otherwise the same.
    Now(Arc<Dataset>),
    /// Somebody else wrote meanwhile, or may have.
    Conflict(PublishOutcome),
}

/// Gives the columns that a fragment lacks a file of NULLs, where it has others of them.
///
/// SUBTLE: between our two commits somebody may write one of the columns, and the second commit, made on
/// the version of the first, would not see it. So the first must have made the very next version;
/// otherwise the caller looks again. A crash in between leaves NULLs where there were none.
pub(super) async fn complete(
    dataset: &Arc<Dataset>,
    columns: &[String],
    replacements: &[DataReplacementGroup],
    doing: &str,
) -> Result<Completed> {
    // One list of fields is all that a transaction takes.
    let mut missing: BTreeMap<Vec<String>, Vec<Fragment>> = BTreeMap::new();
    if columns.len() > 1 {
        for DataReplacementGroup(id, _) in replacements {
            let found = usize::try_from(*id).ok();
            let Some(fragment) = found.and_then(|id| dataset.get_fragment(id)) else {
                continue;
            };
            let lacks = lacking(dataset, columns, fragment.metadata());
            if !lacks.is_empty() && lacks.len() < columns.len() {
                let fragment = fragment.metadata().clone();
                missing.entry(lacks).or_default().push(fragment);
            }
        }
    }
    let mut completed = Completed::Was;
    for (lacks, fragments) in missing {
        let base = match &completed {
            Completed::Now(dataset) => dataset.clone(),
            _ => dataset.clone(),
        };
        let mut files = vec![];
        for fragment in fragments {
            let id = fragment.id;
            let nulls = nulls(&base, &lacks, &fragment);
            let file = write(&base, fragment, &lacks, nulls).await?;
            files.push(DataReplacementGroup(id, data_file(&file)?));
        }
        let next = base.version_id() + 1;
        match replace(&base, files, HashMap::new(), doing).await? {
            Replaced::Done(dataset) if dataset.version_id() == next => {
                completed = Completed::Now(Arc::new(*dataset));
            }
            Replaced::Done(_) => {
                let reason = "others wrote to the table meanwhile".to_owned();
                return Ok(Completed::Conflict(PublishOutcome::Conflict { reason }));
            }
            Replaced::Not(outcome) => return Ok(Completed::Conflict(outcome)),
        }
    }
    Ok(completed)
}

/// The columns that no file of a fragment holds.
fn lacking(dataset: &Dataset, columns: &[String], fragment: &Fragment) -> Vec<String> {
    let held: BTreeSet<i32> = (fragment.files.iter())
        .flat_map(|file| file.fields.iter().copied())
        .collect();
    let lacks = |column: &&String| {
        let field = dataset.schema().field(column);
        field.is_some_and(|field| !holds_any(&held, field))
    };
    columns.iter().filter(lacks).cloned().collect()
}

/// What of a nested column a file lists depends on its format.
fn holds_any(held: &BTreeSet<i32>, field: &Field) -> bool {
    held.contains(&field.id) || field.children.iter().any(|child| holds_any(held, child))
}

fn nulls(dataset: &Dataset, columns: &[String], fragment: &Fragment) -> BatchStream {
    let fields: Vec<ArrowField> = (columns.iter())
        .filter_map(|column| dataset.schema().field(column))
        .map(|field| ArrowField::new(&field.name, field.data_type(), true))
        .collect();
    let schema = Arc::new(ArrowSchema::new(fields));
    let rows = fragment.physical_rows.unwrap_or_default();
    let row_bytes: Option<u64> = (schema.fields().iter())
        .map(|field| fixed_width(field.data_type()))
        .sum();
    let at_once = row_bytes.map_or(NULLS_AT_ONCE, |bytes| rows_within(BYTES_AT_ONCE, bytes));
    let at_once = NULLS_AT_ONCE.min(at_once) as usize;
    let batches = (0..rows).step_by(at_once).map(move |start| {
        let length = at_once.min(rows - start);
        let columns = (schema.fields().iter())
            .map(|field| new_null_array(field.data_type(), length))
            .collect();
        RecordBatch::try_new(schema.clone(), columns)
            .map_err(|error| Error::internal("cannot write NULLs").with_source(error))
    });
    stream::iter(batches).boxed()
}
