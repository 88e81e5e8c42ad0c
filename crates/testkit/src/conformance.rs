//! What every table and every state store must do, as claims that are checked against any of them.
//!
//! The doubles of this crate and the real ones pass the same claims. Where they disagree, the real ones
//! are right, and the double is changed.

use std::collections::BTreeSet;

use futures::future::BoxFuture;

mod conflicts;
mod edits;
mod fixture;
mod groups;
mod history;
mod identities;
mod moves;
mod queue;
mod reading;
mod staging;
mod state_store;

pub use fixture::{Foreign, Start, TableFixture, id_and};
pub use queue::{QueueFixture, queue};
pub use state_store::state_store;

/// One claim about tables.
struct Claim {
    name: &'static str,
    check: for<'a> fn(&'a dyn TableFixture) -> BoxFuture<'a, anyhow::Result<()>>,
}

/// Checks all claims about tables; the error names each that does not hold.
pub async fn table(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let groups = [
        reading::CLAIMS,
        staging::CLAIMS,
        conflicts::CLAIMS,
        edits::CLAIMS,
        history::CLAIMS,
        moves::CLAIMS,
        identities::CLAIMS,
        groups::CLAIMS,
    ];
    let mut names = BTreeSet::new();
    let mut broken = vec![];
    for claim in groups.into_iter().flatten() {
        anyhow::ensure!(names.insert(claim.name), "two claims '{}'", claim.name);
        if let Err(error) = (claim.check)(fixture).await {
            broken.push(format!("{}: {error:#}", claim.name));
        }
    }
    anyhow::ensure!(
        broken.is_empty(),
        "{} of {} claims do not hold:\n{}",
        broken.len(),
        names.len(),
        broken.join("\n")
    );
    Ok(())
}
