use super::*;

fn generation(digit: char) -> GenerationId {
    digit.to_string().repeat(32).parse().expect("valid")
}

fn entry(value: u32) -> Entry {
    Entry {
        fingerprint: 9,
        live: value,
        filtered: 0,
        rows: [value, 0, 0, 0, 0],
        others: vec![],
    }
}

fn snapshot() -> CoverageSnapshot {
    CoverageSnapshot {
        head: Head {
            max_fragment: Some(7),
            table_version: 3,
            generation: Some(generation('a')),
            rate: None,
        },
        entries: [(1, entry(10)), (7, entry(20))].into(),
    }
}

#[test]
fn stored_form_reads_back() {
    let mut snapshot = snapshot();
    if let Some(entry) = snapshot.entries.get_mut(&7) {
        entry.live += 4;
        entry.others = vec![OtherGeneration {
            generation: generation('b'),
            outcome: Outcome::Failed,
            rows: 4,
        }];
    }
    let bytes = snapshot.encode().expect("encodes");
    assert_eq!(CoverageSnapshot::decode(&bytes), Ok(snapshot));
    assert!(CoverageSnapshot::decode(&bytes[..bytes.len() / 2]).is_err());
    assert!(CoverageSnapshot::decode(b"").is_err());
}

#[test]
fn a_hundred_thousand_fragments_fit_into_two_megabytes() {
    let entries = (0..100_000_u64)
        .map(|id| {
            (
                id,
                Entry {
                    fingerprint: id.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                    ..entry(1_000)
                },
            )
        })
        .collect();
    let bytes = CoverageSnapshot {
        entries,
        ..snapshot()
    }
    .encode()
    .expect("encodes");
    assert!(bytes.len() <= 2_000_000, "{} bytes", bytes.len());
}

#[test]
fn numbers_survive_a_change_of_generation() {
    let mut all = snapshot();
    let newer = CoverageSnapshot {
        head: Head {
            generation: Some(generation('b')),
            ..all.head.clone()
        },
        entries: [(7, entry(5))].into(),
    };
    all.apply(newer);
    let mut definition = Definition::sql("p", "double", "a", "a", vec![]);
    let head = Some(generation('b'));
    let old = &all.entries[&1];
    assert_eq!(
        old.settled_counts(head.as_ref(), &definition, &generation('b')),
        None
    );
    definition
        .accepted_generations
        .insert(generation('a'), vec![]);
    let counts = old.settled_counts(head.as_ref(), &definition, &generation('b'));
    assert_eq!(counts.map(|counts| counts.current), Some(10));
    let new = all.entries[&7].settled_counts(head.as_ref(), &definition, &generation('b'));
    assert_eq!(new.map(|counts| counts.current), Some(5));
}
