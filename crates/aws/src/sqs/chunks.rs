//! Which messages go into one request.

use std::ops::Range;

/// Entries of one request.
pub const MOST_ENTRIES: usize = 10;
/// Bytes of all messages of one request.
pub const MOST_BYTES: usize = 1 << 20;

/// Messages of these sizes in requests that SQS takes, in order, as few as can be.
///
/// A message that is too large for any request is alone, and SQS says so.
pub fn chunks(sizes: &[usize]) -> Vec<Range<usize>> {
    let mut chunks = vec![];
    let (mut start, mut bytes) = (0, 0_usize);
    for (place, size) in sizes.iter().enumerate() {
        let full = place - start == MOST_ENTRIES || bytes.saturating_add(*size) > MOST_BYTES;
        if place > start && full {
            chunks.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes = bytes.saturating_add(*size);
    }
    if start < sizes.len() {
        chunks.push(start..sizes.len());
    }
    chunks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn requests_are_within_the_limits_and_lose_nothing(
            sizes in prop::collection::vec(prop_oneof![0..100_usize, 0..MOST_BYTES + 10], 0..60)
        ) {
            let found = chunks(&sizes);
            let together: Vec<usize> = found.iter().cloned().flatten().collect();
            prop_assert_eq!(together, (0..sizes.len()).collect::<Vec<_>>());
            for chunk in &found {
                let bytes: usize = sizes[chunk.clone()].iter().sum();
                prop_assert!(!chunk.is_empty() && chunk.len() <= MOST_ENTRIES);
                prop_assert!(bytes <= MOST_BYTES || chunk.len() == 1);
            }
            // Two neighbours do not fit into one.
            for pair in found.windows(2) {
                let all = pair[0].start..pair[1].start + 1;
                let bytes: usize = sizes[all.clone()].iter().sum();
                prop_assert!(all.len() > MOST_ENTRIES || bytes > MOST_BYTES);
            }
        }
    }
}
