//! The hosts of a function: warm ones, new ones, and what they take of the machine.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{Field, Schema};
use lance_backfill_core::calls::{Again, backoff_ms};
use lance_backfill_core::checkpoint::Fault;

use super::cores::Cores;
use super::devices::{Devices, Next, Seat, Share};
use super::frame::{Mode, nullable};
use super::function::PythonFunction;
use super::host::{Host, StartFault, Started};
use super::launches::Edition;
use super::limits::Limits;
use super::resting::{Own, Resting};
use super::start::{Launch, environment_fault};
use super::watch::{now, wait};

/// Whoever gives a model and asks for a longer wait is down: no row can be computed meanwhile.
const LONGEST_START_WAIT_MS: u64 = 60_000;

/// What the hosts of all functions of this process share.
#[derive(Clone)]
pub struct Machine {
    /// Cores, for hosts that use no device.
    pub cores: Cores,
    /// Devices.
    pub devices: Devices,
    /// Room for hosts that use no device, and have no call.
    pub resting: Resting,
}

impl Machine {
    /// Hosts of these limits that fit side by side.
    pub fn hosts(&self, limits: &Limits) -> usize {
        match limits.gpus > 0.0 {
            true => self.devices.hosts(limits.gpus),
            false => self.cores.hosts(limits.cpus),
        }
    }
}

/// Where hosts are between calls, and what they need for one.
pub(super) enum Crew {
    /// They rest beside others, and each call takes cores.
    Cores(Own),
    /// They keep their devices, which bound how many there are. A host mostly waits for its device, so
    /// its calls take no core from functions that use nothing else.
    Devices(Seat),
}

impl PythonFunction {
    /// A warm host, or a new one.
    pub(super) async fn host(&self) -> Result<Host, Fault> {
        if let Some(lacks) = self.machine.devices.lacks(self.spec.limits.gpus) {
            let entrypoint = &self.spec.entrypoint;
            return Err(environment_fault(format!(
                "{entrypoint} cannot run here: {lacks}; a service that has GPU workers can run it (--service), and so can cores if it is declared without num_gpus"
            )));
        }
        let edition = self.launches.newest(&self.spec).await?;
        let is_usable = |host: &mut Host| host.edition == edition.number && host.lives();
        match &self.crew {
            Crew::Cores(resting) => loop {
                let Some(mut host) = resting.take() else {
                    resting.make_room();
                    return self.start(edition, None).await;
                };
                if is_usable(&mut host) {
                    return Ok(host);
                }
            },
            Crew::Devices(seat) => {
                let share = match seat.next().await {
                    Next::Warm(mut host) => {
                        if is_usable(&mut host) {
                            return Ok(*host);
                        }
                        host.end().await
                    }
                    Next::Room(share) => Some(share),
                };
                self.start(edition, share).await
            }
        }
    }

    /// Keeps a host for the next call.
    pub(super) fn rest(&self, host: Host) {
        match &self.crew {
            Crew::Cores(resting) => resting.put(host),
            Crew::Devices(seat) => seat.rest(host),
        }
    }

    /// A new host, on these devices.
    pub(super) async fn start(
        &self,
        mut edition: Arc<Edition>,
        mut share: Option<Share>,
    ) -> Result<Host, Fault> {
        let mut fields: Vec<Field> = (nullable(&self.spec.inputs).fields().iter())
            .map(|field| field.as_ref().clone())
            .collect();
        fields.push(Field::new("value", self.spec.output.clone(), true));
        let schema = Schema::new(fields);
        let mut starts = 0_u32;
        loop {
            starts += 1;
            let launch = match &share {
                Some(share) => &edition.launch.with(share.variables()),
                None => &edition.launch,
            };
            let began = now();
            match Host::start(launch, Mode::Run, Some(&schema), &self.spec.limits).await {
                Ok(Started { mut host, .. }) => {
                    check_version(launch, &host.python)?;
                    host.edition = edition.number;
                    if let Some(share) = &mut share {
                        share.loaded_since(began);
                    }
                    host.share = share;
                    self.kind
                        .get_or_init(|| async { host.described.kind })
                        .await;
                    return Ok(host);
                }
                Err(StartFault { fault, again }) => {
                    let newest = self.launches.after_failure(&self.spec).await?;
                    if newest.number != edition.number {
                        edition = newest;
                        continue;
                    }
                    // Killed from outside, or whoever gives the model is busy: the next one may live.
                    let backoff_ms = match again {
                        Again::Later { after_ms } | Again::RateLimited { after_ms }
                            if starts < self.spec.limits.max_attempts.max(1) =>
                        {
                            backoff_ms(starts - 1, after_ms)
                        }
                        _ => return Err(fault),
                    };
                    if backoff_ms > LONGEST_START_WAIT_MS {
                        return Err(fault);
                    }
                    wait(Duration::from_millis(backoff_ms)).await;
                }
            }
        }
    }
}

/// The interpreter of a machine may be another one by now.
fn check_version(launch: &Launch, found: &str) -> Result<(), Fault> {
    match launch.python_full.as_deref() {
        Some(wanted) if wanted != found => Err(environment_fault(format!(
            "'{}' was Python {wanted} when {} was declared, and is {found} now: declare it again",
            launch.python.display(),
            launch.entrypoint
        ))),
        _ => Ok(()),
    }
}
