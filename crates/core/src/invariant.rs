//! Named invariants: one sentence and one predicate each, shared by tests and production.

use crate::identity::Identity;
use crate::ids::FragmentId;
use crate::plan::PlannedPage;
use crate::rows::RowSet;
use crate::state::{Counts, FragmentState};

/// An invariant that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant '{name}' is violated: {detail}")]
pub struct Violation {
    /// Name of the invariant, as ARCHITECTURE.md has it.
    pub name: &'static str,
    /// Where and how.
    pub detail: String,
}

fn check(
    holds: bool,
    name: &'static str,
    detail: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            name,
            detail: detail(),
        })
    }
}

/// *Counts add up*: eligible = current + failed + blocked + unknown + remaining.
pub fn counts_add_up(counts: &Counts) -> Result<(), Violation> {
    let sum = counts.current + counts.failed + counts.blocked + counts.unknown + counts.remaining();
    // Not `eligible() == sum`: more filtered rows than there are rows must be a violation, no panic.
    check(
        counts.total == counts.filtered + sum,
        "counts add up",
        || format!("{counts:?}"),
    )
}

/// *No lost row*: every live row of a fragment is in exactly one state.
pub fn no_lost_row(state: &FragmentState, live: &RowSet) -> Result<(), Violation> {
    let FragmentState {
        filtered,
        current,
        failed,
        blocked,
        unassigned,
        stale_input,
        stale_definition,
        unknown,
        distrusted,
    } = state;
    let mut seen = RowSet::new();
    for rows in [
        filtered,
        current,
        failed,
        blocked,
        unassigned,
        stale_input,
        stale_definition,
        unknown,
        distrusted,
    ] {
        check(seen.is_disjoint(rows), "no lost row", || {
            "a row is in two states".to_owned()
        })?;
        seen.extend(rows);
    }
    check(seen == *live, "no lost row", || {
        format!("{} of {} live rows have a state", seen.len(), live.len())
    })
}

/// *One owner*: the planned rows are in need, ready, and in no other open batch.
pub fn one_owner(
    page: &PlannedPage,
    ready: impl Fn(FragmentId) -> Option<(RowSet, Identity)>,
) -> Result<(), Violation> {
    let mut fragments = std::collections::BTreeMap::<FragmentId, RowSet>::new();
    for batch in &page.batches {
        for slice in &batch.slices {
            let seen = fragments.entry(slice.fragment).or_default();
            let (rows, in_id) =
                ready(slice.fragment).unwrap_or_else(|| (RowSet::new(), slice.in_id));
            check(seen.is_disjoint(&slice.rows), "one owner", || {
                format!("rows of fragment {} are planned twice", slice.fragment)
            })?;
            check(slice.rows.is_subset(&rows), "one owner", || {
                format!(
                    "rows of fragment {} are planned though not ready",
                    slice.fragment
                )
            })?;
            check(
                slice.in_id == in_id,
                "no stale value is counted current",
                || {
                    format!(
                        "fragment {} is planned under another input identity",
                        slice.fragment
                    )
                },
            )?;
            check(!slice.rows.is_empty(), "no needless work", || {
                format!("fragment {} has an empty slice", slice.fragment)
            })?;
            seen.extend(&slice.rows);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
