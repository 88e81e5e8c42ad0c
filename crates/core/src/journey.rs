//! Where rows lie now whose fragment was rewritten while a batch worked on it.

use serde::{Deserialize, Serialize};

use crate::checkpoint::SliceResult;
use crate::history::{Move, moved};
use crate::identity::Identity;
use crate::ids::FragmentId;
use crate::rows::RowSet;

/// A fragment under one identity of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Fragment.
    pub fragment: FragmentId,
    /// Identity of the inputs.
    pub in_id: Identity,
}

/// How rows came from one site to another with their inputs unchanged, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journey {
    /// Where they were.
    pub from: Site,
    /// Where they are.
    pub to: Site,
    /// Their offsets there: as many as in `new`.
    pub old: RowSet,
    /// Their offsets here: the first of them is the first of `old`.
    pub new: RowSet,
}

impl Journey {
    /// One step; none if no row moved, or if they did not keep their order.
    pub fn of(from: Site, to: Site, moves: &[Move]) -> Option<Self> {
        let mut moves = moves.to_vec();
        moves.sort_by_key(|stretch| stretch.old);
        let in_order = moves.windows(2).all(|pair| match pair {
            [a, b] => a.old + a.rows <= b.old && a.new + a.rows <= b.new,
            _ => true,
        });
        let mut journey = Self {
            from,
            to,
            old: RowSet::new(),
            new: RowSet::new(),
        };
        for stretch in &moves {
            let range = |start: u32| start..start + stretch.rows;
            journey.old.insert_range(range(stretch.old));
            journey.new.insert_range(range(stretch.new));
        }
        (in_order && !journey.old.is_empty()).then_some(journey)
    }

    /// The same, and a step from there; none if no row took both.
    pub fn then(&self, next: &Self) -> Option<Self> {
        if next.from != self.to {
            return None;
        }
        let between = self.new.intersection(&next.old);
        (!between.is_empty()).then(|| Self {
            from: self.from,
            to: next.to,
            old: self.back(&between),
            new: next.rows(&between),
        })
    }

    /// The same of these old rows alone; none if no such row came along.
    pub fn of_rows(&self, old: &RowSet) -> Option<Self> {
        let old = self.old.intersection(old);
        (!old.is_empty()).then(|| Self {
            new: self.rows(&old),
            old,
            ..*self
        })
    }

    /// Old rows at their new places; those that did not come along are left out.
    pub fn rows(&self, old: &RowSet) -> RowSet {
        moved(old, &self.moves())
    }

    /// New rows at their old places.
    pub fn back(&self, new: &RowSet) -> RowSet {
        let back: Vec<Move> = (self.moves().into_iter())
            .map(|Move { old, new, rows }| Move {
                old: new,
                new: old,
                rows,
            })
            .collect();
        moved(new, &back)
    }

    /// What a slice's result says of the rows that came along; its output stays as it was written.
    pub fn result(&self, result: &SliceResult) -> SliceResult {
        let mut here = result.clone();
        here.fragment = self.to.fragment;
        here.in_id = self.to.in_id;
        here.values = self.rows(&result.values);
        here.nulls = self.rows(&result.nulls);
        for errors in &mut here.failed {
            errors.rows = self.rows(&errors.rows);
        }
        here.failed.retain(|errors| !errors.rows.is_empty());
        here
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = vec![];
        let mut targets = self.new.ranges();
        let mut target = targets.next().unwrap_or_default();
        for mut source in self.old.ranges() {
            while !source.is_empty() && !target.is_empty() {
                let rows = (source.end - source.start).min(target.end - target.start);
                moves.push(Move {
                    old: source.start,
                    new: target.start,
                    rows,
                });
                source.start += rows;
                target.start += rows;
                if target.is_empty() {
                    target = targets.next().unwrap_or_default();
                }
            }
        }
        moves
    }
}

#[cfg(test)]
mod tests;
