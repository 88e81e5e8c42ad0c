//! Cores of this machine, which the hosts of all functions share.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Parts of a core that are handed out.
const PARTS: f64 = 100.0;

/// So many cores.
#[derive(Clone)]
pub struct Cores {
    parts: u32,
    free: Arc<Semaphore>,
}

impl Cores {
    /// At least one.
    pub fn new(cores: usize) -> Self {
        let parts = u32::try_from(cores.max(1)).unwrap_or(1).saturating_mul(100);
        Self {
            parts,
            free: Arc::new(Semaphore::new(parts as usize)),
        }
    }

    /// Parts for a host that needs so many cores; one that needs more than there are gets all.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits"
    )]
    fn parts(&self, cpus: f64) -> u32 {
        (cpus * PARTS).ceil().clamp(1.0, f64::from(self.parts)) as u32
    }

    /// Hosts that fit side by side.
    pub fn hosts(&self, cpus: f64) -> usize {
        (self.parts / self.parts(cpus)).max(1) as usize
    }

    /// Waits for the cores of one host; they are free again when the permit is dropped.
    pub(super) async fn take(&self, cpus: f64) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.free.acquire_many(self.parts(cpus)).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_hosts_as_fit() {
        let cores = Cores::new(4);
        for (cpus, hosts) in [
            (1.0, 4),
            (0.5, 8),
            (2.0, 2),
            (3.0, 1),
            (64.0, 1),
            (0.0, 400),
        ] {
            assert_eq!(cores.hosts(cpus), hosts, "{cpus}");
        }
    }
}
