//! Sets of row offsets within one fragment.

use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roaring::RoaringBitmap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Above this many ranges a set is stored as a bitmap: about where the JSON sizes cross.
const MOST_STORED_RANGES: usize = 256;

/// A set of physical row offsets of one fragment, deleted rows counted.
#[derive(Clone, Default, PartialEq)]
pub struct RowSet(RoaringBitmap);

impl RowSet {
    /// The set without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// All offsets below `rows`.
    pub fn full(rows: u32) -> Self {
        Self::range(0..rows)
    }

    /// The offsets of one range.
    pub fn range(range: Range<u32>) -> Self {
        let mut bitmap = RoaringBitmap::new();
        bitmap.insert_range(range);
        Self(bitmap)
    }

    /// Takes a bitmap of offsets as it is.
    pub fn from_bitmap(bitmap: RoaringBitmap) -> Self {
        Self(bitmap)
    }

    /// The offsets as a bitmap.
    pub fn as_bitmap(&self) -> &RoaringBitmap {
        &self.0
    }

    /// How many rows are in the set.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the row is in the set.
    pub fn contains(&self, offset: u32) -> bool {
        self.0.contains(offset)
    }

    /// Adds one row.
    pub fn insert(&mut self, offset: u32) {
        self.0.insert(offset);
    }

    /// Adds the rows of one range.
    pub fn insert_range(&mut self, range: Range<u32>) {
        self.0.insert_range(range);
    }

    /// Rows in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(&self.0 | &other.0)
    }

    /// Rows in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// Rows in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// Adds all rows of the other set.
    pub fn extend(&mut self, other: &Self) {
        self.0 |= &other.0;
    }

    /// Removes all rows of the other set.
    pub fn remove(&mut self, other: &Self) {
        self.0 -= &other.0;
    }

    /// Whether the sets share no row.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }

    /// Whether each row of this set is in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The rows of the set that lie in `range`, as offsets from its start.
    pub fn within(&self, range: Range<u32>) -> impl Iterator<Item = u32> + '_ {
        let start = range.start;
        self.0.range(range).map(move |offset| offset - start)
    }

    /// How many rows of the set lie in `range`.
    pub fn count_within(&self, range: Range<u32>) -> u64 {
        self.0.range_cardinality(range)
    }

    /// The offsets, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter()
    }

    /// The first `count` rows of the set.
    #[must_use]
    pub fn first(&self, count: u64) -> Self {
        if count >= self.len() {
            return self.clone();
        }
        let Ok(nth) = u32::try_from(count) else {
            return self.clone();
        };
        match self.0.select(nth) {
            Some(bound) => Self(&self.0 & &Self::range(0..bound).0),
            None => self.clone(),
        }
    }

    /// The set as ascending ranges that do not touch.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut iter = self.0.iter();
        std::iter::from_fn(move || {
            iter.next_range()
                .map(|range| *range.start()..range.end() + 1)
        })
    }
}

impl fmt::Debug for RowSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.ranges().take(8).collect();
        write!(formatter, "RowSet({} rows: {shown:?}", self.len())?;
        if self.ranges().nth(8).is_some() {
            write!(formatter, "…")?;
        }
        write!(formatter, ")")
    }
}

impl FromIterator<u32> for RowSet {
    fn from_iter<I: IntoIterator<Item = u32>>(offsets: I) -> Self {
        Self(offsets.into_iter().collect())
    }
}

/// Stored form: few ranges are readable, many are compact.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Stored {
    Ranges(Vec<[u32; 2]>),
    Roaring(String),
}

impl Serialize for RowSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ranges: Vec<[u32; 2]> = self
            .ranges()
            .take(MOST_STORED_RANGES + 1)
            .map(|range| [range.start, range.end])
            .collect();
        if ranges.len() <= MOST_STORED_RANGES {
            return Stored::Ranges(ranges).serialize(serializer);
        }
        let mut bitmap = self.0.clone();
        bitmap.optimize();
        let mut bytes = Vec::with_capacity(bitmap.serialized_size());
        bitmap
            .serialize_into(&mut bytes)
            .map_err(serde::ser::Error::custom)?;
        Stored::Roaring(STANDARD.encode(bytes)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match Stored::deserialize(deserializer)? {
            Stored::Ranges(ranges) => {
                let mut bitmap = RoaringBitmap::new();
                let mut next = 0;
                for [start, end] in ranges {
                    if start < next || end <= start {
                        return Err(D::Error::custom("row ranges must ascend and not be empty"));
                    }
                    bitmap.insert_range(start..end);
                    next = end;
                }
                Ok(Self(bitmap))
            }
            Stored::Roaring(text) => {
                let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
                let mut rest = &bytes[..];
                let bitmap =
                    RoaringBitmap::deserialize_from(&mut rest).map_err(D::Error::custom)?;
                if !rest.is_empty() {
                    return Err(D::Error::custom("something follows the bitmap"));
                }
                if bitmap.contains(u32::MAX) {
                    return Err(D::Error::custom(
                        "no fragment has a row of the highest offset",
                    ));
                }
                Ok(Self(bitmap))
            }
        }
    }
}

#[cfg(test)]
mod tests;
