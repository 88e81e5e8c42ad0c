//! In-memory doubles of the ports, faults on demand, and conformance suites.
//!
//! The doubles are real implementations: what the suites in [`conformance`] claim of a table or a state
//! store holds of them and of the real ones alike. Nothing here reads a clock or draws at random: the
//! same seed gives the same names, times and bytes.

pub mod conformance;
pub mod faulty;
mod random;
pub mod state_store;
pub mod table;
pub mod world;

pub use faulty::{Fault, Faults, Faulty};
pub use random::Random;
pub use state_store::MemStateStore;
pub use table::{MemTable, Selection};
pub use world::{ManualClock, SeededWorld};
