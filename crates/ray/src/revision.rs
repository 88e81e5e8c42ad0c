//! Which revision of a pool's workers something is.
//!
//! # Rolling
//!
//! A function's new version needs no roll: workers load functions by their generation, and have several at
//! once. A roll is due when the pods are made otherwise (image, environment, resources, grace), and goes
//! the simplest way that interrupts no batch:
//!
//! 1. The template of the group is applied in place. With `upgradeStrategy: None` KubeRay touches no pod
//!    that runs, and makes new ones from the new template. (A second group beside the old one would need
//!    a name of its own, double the entries of an atomic list, and leave behind who deletes which.)
//! 2. The supervisor job is submitted again under the new revision; it starts actors on nodes as they
//!    come, and those of the old revision drain.
//! 3. Each pod says by a label from which template it was made. Where the group has room, one more pod is
//!    asked for, so that a new one works before an old one goes; then old pods that are idle are named in
//!    `workersToDelete` one after the other, each only when all pods of the group are ready. A new
//!    template that does not work thus costs no pod, or one where the group is at its most.
//!
//! Another version of Ray cannot join a head that runs, so it needs a new cluster; [`crate::plan`] refuses it.

use std::fmt::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::manifest::template_of;
use crate::pool::Pool;

/// Digits of a digest: enough for the few revisions of one pool.
const BYTES: usize = 4;

/// Eight hexadecimal digits of the digest of something's JSON.
pub(crate) fn digest(value: &impl Serialize) -> String {
    // What cannot be written as JSON does not exist here; it would be one digest for all of them.
    let json = serde_json::to_vec(value).unwrap_or_default();
    let digest = Sha256::digest(&json);
    let bytes = digest.iter().take(BYTES);
    bytes.fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The revision of a pool's workers: all that decides how they are made and started, and not how many.
pub fn revision_of(pool: &Pool) -> String {
    let groups: Vec<_> = (pool.groups.iter())
        .map(|group| {
            (
                (&group.name, &group.class, template_of(group)),
                (group.gpus, group.workers_per_gpu, group.at_once),
                (group.cpus.to_bits(), group.grace.as_secs()),
            )
        })
        .collect();
    digest(&(&pool.name, &pool.service, &pool.ray_version, groups))
}
