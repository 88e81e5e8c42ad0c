//! Who computes a column of a service, and whether somebody is there.

use std::collections::BTreeSet;

use lance_backfill_core::definition::Definition;
use lance_backfill_core::deployment::{Deployment, Needs};
use lance_backfill_core::route::{Route, Wish, route};
use lance_backfill_ports::Result;
use lance_backfill_service::Remote;

use crate::clock::now_ms;

/// What keeps a column's rows waiting although nothing is wrong with it.
pub(super) struct Lack {
    pub(super) state: &'static str,
    pub(super) reason: String,
}

/// The workers of a service.
pub(super) struct Crew<'a> {
    deployment: &'a Deployment,
    /// Classes of which a worker said something not long ago.
    manned: BTreeSet<String>,
}

impl<'a> Crew<'a> {
    pub(super) async fn of(remote: &'a Remote) -> Result<Self> {
        let deployment = remote.deployment();
        let workers = match deployment.classes.is_empty() {
            true => vec![],
            false => remote.workers().await?,
        };
        let now_ms = now_ms();
        let there = workers.into_iter().filter(|worker| !worker.is_gone(now_ms));
        Ok(Self {
            deployment,
            manned: there.map(|worker| worker.class).collect(),
        })
    }

    /// Why nobody computes a column now, if nobody does.
    pub(super) fn lacks(&self, definition: &Definition) -> Option<Lack> {
        if let Err(refused) = self.deployment.check(&Needs::of(definition)) {
            return Some(Lack {
                state: "held",
                reason: refused.to_string(),
            });
        }
        let classes = self.deployment.classes.keys().map(String::as_str);
        match route(&Wish::of(definition), classes) {
            Ok(Route::Class(class)) if !self.manned.contains(class) => Some(Lack {
                state: "in need",
                reason: format!(
                    "its batches wait: no worker of class '{class}' is there ('pool status' tells of its pods)"
                ),
            }),
            Ok(_) | Err(_) => None,
        }
    }
}
