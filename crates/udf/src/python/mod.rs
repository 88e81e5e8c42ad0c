//! Python functions, each in host processes of its own that are fed with Arrow over pipes.
//!
//! `docs/host-protocol.md` is what host and worker agree on. A host may crash, hang, leak or exhaust its
//! memory: it costs a call, and never the worker.

mod artifacts;
mod cores;
mod crew;
mod cutting;
mod death;
mod described;
mod devices;
mod exchange;
mod frame;
mod function;
mod host;
mod interpreter;
mod launches;
mod limits;
mod lock;
mod log;
mod package;
mod packer;
mod process;
mod redact;
mod resting;
mod start;
mod watch;

pub use artifacts::{Artifacts, digest_of};
pub use cores::Cores;
pub use crew::Machine;
pub use described::{Described, Kind, Options};
pub use devices::Devices;
pub use function::{PythonFunction, Spec};
pub use interpreter::Python;
pub use launches::EnvironmentSecrets;
pub use limits::Limits;
pub use lock::{Distribution, EnvironmentKind, EnvironmentLock};
pub use packer::{EnvironmentChoice, PackRequest, Packed, Target, describe, pack};
pub use resting::Resting;
