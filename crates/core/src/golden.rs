//! Stored forms must not change by accident: each has a golden file that today's program must write
//! to the byte, and read.
//!
//! A wanted change is a new version of the form, beside a reader of the old one. Until the first
//! release, `LANCE_BACKFILL_WRITE_GOLDEN=1 cargo test -p lance-backfill-core golden_file` writes them
//! anew; read the difference before you commit it.

use std::path::PathBuf;

use proptest::prelude::*;

use crate::format::{FormatError, Stored, decode, encode};
use crate::snapshot::CoverageSnapshot;

mod damage;
mod digests;
mod samples;

/// What reading gave: whether it is the expected value, and what writing it again gives.
struct Read {
    is_expected: bool,
    again: Vec<u8>,
}

type Reader = dyn Fn(&[u8]) -> Result<Read, FormatError>;

/// A stored form with a value of it.
struct Form {
    /// Name of the golden file.
    name: &'static str,
    /// What today's writer makes of the value.
    today: Vec<u8>,
    read: Box<Reader>,
}

impl Form {
    fn json<T: Stored + PartialEq + 'static>(name: &'static str, value: T) -> Self {
        let today = encode(&value).expect("encodes");
        let read = move |bytes: &[u8]| {
            let found = decode::<T>(bytes)?;
            let again = encode(&found)?;
            let is_expected = found == value;
            Ok(Read { is_expected, again })
        };
        Self {
            name,
            today,
            read: Box::new(read),
        }
    }

    fn snapshot(name: &'static str, value: CoverageSnapshot) -> Self {
        let today = value.encode().expect("encodes");
        let read = move |bytes: &[u8]| {
            let found = CoverageSnapshot::decode(bytes)?;
            let again = found.encode()?;
            let is_expected = found == value;
            Ok(Read { is_expected, again })
        };
        Self {
            name,
            today,
            read: Box::new(read),
        }
    }

    fn is_json(&self) -> bool {
        self.name.ends_with(".json")
    }

    fn golden(&self) -> Vec<u8> {
        let path = path(self.name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden/v1")
        .join(name)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one switch of these tests; nothing but cargo test could hand it in"
)]
fn is_writing() -> bool {
    std::env::var_os("LANCE_BACKFILL_WRITE_GOLDEN").is_some()
}

/// For people: a difference in one long line shows nothing.
fn pretty(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).expect("JSON");
    serde_json::to_string_pretty(&value).expect("JSON")
}

#[test]
fn todays_writer_writes_the_golden_files() {
    for form in samples::all() {
        if is_writing() {
            std::fs::create_dir_all(path("")).expect("a folder");
            std::fs::write(path(form.name), &form.today).expect("a file");
        }
        let golden = form.golden();
        if form.is_json() {
            assert_eq!(pretty(&form.today), pretty(&golden), "{}", form.name);
            assert!(form.today == golden, "{} differs in spelling", form.name);
        } else {
            // Another compressor is no other form; columns and keys are.
            let (today, golden) = (damage::arrow(&form.today), damage::arrow(&golden));
            assert_eq!(today, golden, "{}", form.name);
        }
    }
}

#[test]
fn todays_reader_reads_what_is_golden() {
    for form in samples::all() {
        let golden = form.golden();
        let read = (form.read)(&golden).unwrap_or_else(|error| panic!("{}: {error}", form.name));
        assert!(read.is_expected, "{} reads as another value", form.name);
        assert!(
            read.again == form.today,
            "{} is written otherwise",
            form.name
        );
    }
}

#[test]
fn nothing_else_lies_among_the_golden_ones() {
    let mut known: Vec<&str> = samples::all().iter().map(|form| form.name).collect();
    known.push(digests::FILE);
    for file in std::fs::read_dir(path("")).expect("a folder") {
        let name = file.expect("an entry").file_name();
        assert!(known.iter().any(|known| name == *known), "{name:?}");
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_damaged() {
    for form in samples::all() {
        let golden = form.golden();
        for length in 0..golden.len() {
            let cut = golden.get(..length).expect("shorter");
            let read = (form.read)(cut);
            assert!(
                matches!(read, Err(FormatError::Damaged { .. })),
                "{} at {length}",
                form.name
            );
        }
    }
}

#[test]
fn what_never_was_a_stored_form_is_damaged() {
    let never = [
        &b""[..],
        b" ",
        b"\0",
        b"null",
        b"[]",
        b"{}",
        b"ARROW1\0\0",
        b"{\"version\":",
        &[0xff; 64],
    ];
    for form in samples::all() {
        for garbage in never {
            let read = (form.read)(garbage);
            assert!(
                matches!(read, Err(FormatError::Damaged { .. })),
                "{} {garbage:?}",
                form.name
            );
        }
        let longer = [&form.golden()[..], b"x"].concat();
        assert!(
            (form.read)(&longer).is_err(),
            "{} with something behind it",
            form.name
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn changed_bytes_never_make_the_reader_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for form in samples::all() {
            let mut bytes = form.golden();
            for (place, byte) in &flips {
                let place = place.index(bytes.len());
                bytes[place] ^= byte;
            }
            let changed = bytes != form.golden();
            let read = (form.read)(&bytes);
            // JSON may by chance say something else; the snapshot has a digest.
            prop_assert!(form.is_json() || read.is_err() == changed, "{}", form.name);
        }
    }
}
