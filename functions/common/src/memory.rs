//! What the memory of a function allows.

use std::num::NonZero;

const MIB: u64 = 1 << 20;

/// The program itself, its connections, and what it remembers of tables.
const PROGRAM: u64 = 256 * MIB;
/// What one slice at work takes: rows that are read, decoded ahead, handed to the function, and their
/// results. Half as much ends a function where rows are wide; twice as much leaves cores without work.
const SLICE: u64 = 192 * MIB;
/// What a process of Python needs before it has a model, or anything else of its function's.
const HOST: u64 = 256 * MIB;

/// How a function shares out its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Slices at work at once.
    pub slices: usize,
    /// Processes of Python functions side by side.
    pub hosts: usize,
    /// Most memory of one of them.
    pub host_bytes: Option<u64>,
}

impl Shares {
    /// On this machine, of a function that has so much memory; without, as much as it needs.
    ///
    /// With Python, its processes get half of what the program leaves.
    pub fn of(memory_mib: Option<u64>, has_python: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        shares(memory_mib, cores, has_python)
    }
}

fn shares(memory_mib: Option<u64>, cores: usize, has_python: bool) -> Shares {
    // One more than there are cores: while one slice waits for the store, another computes.
    let most = cores + 1;
    let Some(mib) = memory_mib else {
        return Shares {
            slices: most,
            hosts: cores,
            host_bytes: None,
        };
    };
    let free = mib.saturating_mul(MIB).saturating_sub(PROGRAM);
    let of_python = if has_python { free / 2 } else { 0 };
    let hosts = fitting(of_python, HOST).min(cores);
    Shares {
        slices: fitting(free - of_python, SLICE).min(most),
        hosts,
        host_bytes: has_python.then(|| (of_python / hosts as u64).max(MIB)),
    }
}

/// At least one, whatever it takes.
fn fitting(bytes: u64, each: u64) -> usize {
    usize::try_from(bytes / each).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn functions_of_usual_sizes_use_their_cores() {
        let of = |mib, cores, python| {
            let found = shares(mib, cores, python);
            (
                found.slices,
                found.hosts,
                found.host_bytes.map(|it| it / MIB),
            )
        };
        assert_eq!(of(None, 2, true), (3, 2, None));
        assert_eq!(of(Some(128), 2, false), (1, 1, None));
        assert_eq!(of(Some(1_769), 2, false), (3, 1, None));
        assert_eq!(of(Some(3_008), 2, false), (3, 1, None));
        assert_eq!(of(Some(3_008), 2, true), (3, 2, Some(688)));
        assert_eq!(of(Some(1_024), 2, true), (2, 1, Some(384)));
        assert_eq!(of(Some(10_240), 6, true), (7, 6, Some(832)));
    }

    proptest! {
        #[test]
        fn shares_fit_into_the_memory_and_are_never_nothing(
            mib in 0..20_000_u64, cores in 1..64_usize, python: bool
        ) {
            let Shares { slices, hosts, host_bytes } = shares(Some(mib), cores, python);
            prop_assert!((1..=cores + 1).contains(&slices));
            prop_assert!((1..=cores).contains(&hosts));
            prop_assert_eq!(host_bytes.is_some(), python);
            let of_hosts = host_bytes.unwrap_or(0) * hosts as u64;
            prop_assert_ne!(host_bytes, Some(0));
            if slices > 1 || hosts > 1 {
                prop_assert!(PROGRAM + slices as u64 * SLICE + of_hosts <= mib * MIB + SLICE);
            }
            let more = shares(Some(mib + 1), cores, python);
            prop_assert!(more.slices >= slices && more.hosts >= hosts);
        }
    }
}
