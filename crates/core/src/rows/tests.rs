use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_damaged_bitmap_is_refused_or_is_some_set(
        offsets in prop::collection::vec(0_u32..300_000, 0..600),
        stretch in 0_u32..200_000,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bitmap: RoaringBitmap = offsets.into_iter().collect();
        bitmap.insert_range(stretch..stretch + 70_000);
        bitmap.optimize();
        let mut bytes = vec![];
        bitmap.serialize_into(&mut bytes).expect("memory");
        for (place, byte) in flips {
            let place = place.index(bytes.len().min(64));
            bytes[place] ^= byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        let text = format!(r#"{{"roaring":"{}"}}"#, STANDARD.encode(bytes));
        if let Ok(rows) = serde_json::from_str::<RowSet>(&text) {
            // What was let in must be usable without harm.
            let again: RowSet = rows.ranges().flatten().collect();
            prop_assert_eq!(&again, &rows);
            let json = serde_json::to_string(&rows).expect("plain data");
            prop_assert_eq!(serde_json::from_str::<RowSet>(&json).expect("own output"), rows);
        }
    }

    #[test]
    fn stored_form_reads_back(offsets in prop::collection::vec(0_u32..20_000, 0..2_000)) {
        let rows: RowSet = offsets.into_iter().collect();
        let json = serde_json::to_string(&rows).expect("row sets are plain data");
        prop_assert_eq!(serde_json::from_str::<RowSet>(&json).expect("own output"), rows);
    }

    #[test]
    fn ranges_hold_exactly_the_rows(offsets in prop::collection::vec(0_u32..500, 0..200)) {
        let rows: RowSet = offsets.into_iter().collect();
        let again: RowSet = rows.ranges().flatten().collect();
        prop_assert_eq!(again, rows);
    }

    #[test]
    fn first_takes_the_smallest(offsets in prop::collection::vec(0_u32..500, 0..200), count in 0_u64..250) {
        let rows: RowSet = offsets.into_iter().collect();
        let usize_count = usize::try_from(count).expect("small");
        let expected: RowSet = rows.iter().take(usize_count).collect();
        prop_assert_eq!(rows.first(count), expected);
    }
}

#[test]
fn ranges_that_overlap_or_are_empty_are_refused() {
    assert!(serde_json::from_str::<RowSet>(r#"{"ranges":[[3,5],[4,6]]}"#).is_err());
    assert!(serde_json::from_str::<RowSet>(r#"{"ranges":[[3,3]]}"#).is_err());
    assert!(serde_json::from_str::<RowSet>(r#"{"roaring":"AAAA"}"#).is_err());
}

/// The stored form of any bitmap, well-formed or not.
fn roaring(bitmap: &RoaringBitmap, behind: &[u8]) -> String {
    let mut bytes = vec![];
    bitmap.serialize_into(&mut bytes).expect("memory");
    bytes.extend_from_slice(behind);
    format!(r#"{{"roaring":"{}"}}"#, STANDARD.encode(bytes))
}

#[test]
fn a_bitmap_with_something_behind_it_is_refused() {
    let bitmap: RoaringBitmap = (0..100).map(|offset| offset * 3).collect();
    assert!(serde_json::from_str::<RowSet>(&roaring(&bitmap, b"")).is_ok());
    assert!(serde_json::from_str::<RowSet>(&roaring(&bitmap, b"x")).is_err());
}

#[test]
fn an_offset_that_no_range_can_hold_is_refused() {
    let bitmap: RoaringBitmap = [1, u32::MAX].into_iter().collect();
    assert!(serde_json::from_str::<RowSet>(&roaring(&bitmap, b"")).is_err());
}
