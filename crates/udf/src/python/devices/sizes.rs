//! What fits into the memory of devices, as it was found: the next process of this machine begins with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Format of the file; one of another format is not read, and found anew.
const VERSION: u32 = 1;

/// Most weight of one call, by function and kind of device, in a small file of the cache folder.
///
/// It is a hint: without it the sizes are found again, by calls that do not fit.
pub(super) struct Sizes {
    file: PathBuf,
    /// Not read yet, where it is not there.
    known: Mutex<Option<BTreeMap<String, u64>>>,
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    version: u32,
    sizes: BTreeMap<String, u64>,
}

impl Sizes {
    pub(super) fn new(cache: &Path) -> Self {
        Self {
            file: cache.join("device-sizes.json"),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<BTreeMap<String, u64>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &str) -> Option<u64> {
        let mut known = self.known();
        let known = known.get_or_insert_with(|| read(&self.file));
        known.get(key).copied()
    }

    /// Takes note of a size, and of what others noted meanwhile.
    pub(super) fn note(&self, key: &str, size: u64) {
        let mut known = self.known();
        let mut sizes = read(&self.file);
        if let Some(known) = known.take() {
            sizes.extend(known);
        }
        sizes.insert(key.to_owned(), size);
        if let Err(error) = write(&self.file, &sizes) {
            tracing::warn!(
                file = %self.file.display(),
                error = %error,
                "the size of calls that fits a device is kept in this process only"
            );
        }
        *known = Some(sizes);
    }
}

fn read(file: &Path) -> BTreeMap<String, u64> {
    let bytes = std::fs::read(file).unwrap_or_default();
    let stored: Stored = serde_json::from_slice(&bytes).unwrap_or_default();
    match stored.version {
        VERSION => stored.sizes,
        _ => BTreeMap::new(),
    }
}

/// Whole or not at all, whoever else writes.
fn write(file: &Path, sizes: &BTreeMap<String, u64>) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(file);
    std::fs::create_dir_all(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    let stored = Stored {
        version: VERSION,
        sizes: sizes.clone(),
    };
    draft.write_all(&serde_json::to_vec(&stored)?)?;
    draft.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_there_for_the_next_process_and_what_is_no_such_file_is_as_none() {
        let cache = tempfile::tempdir().expect("a folder");
        let cache = cache.path().join("deep");
        let (one, other) = (Sizes::new(&cache), Sizes::new(&cache));
        assert_eq!((one.get("a"), other.get("a")), (None, None));
        one.note("a", 32);
        other.note("b", 64);
        one.note("a", 16);
        for sizes in [&one, &Sizes::new(&cache)] {
            assert_eq!((sizes.get("a"), sizes.get("b")), (Some(16), Some(64)));
        }
        for broken in ["", "{", "[1]", r#"{"version":2,"sizes":{"a":1}}"#] {
            std::fs::write(&one.file, broken).expect("written");
            assert_eq!(Sizes::new(&cache).get("a"), None, "{broken}");
        }
    }
}
