//! Which batch a worker begins next, and whether it takes more.

use std::collections::VecDeque;

use lance_backfill_ports::queue::Delivery;

/// Messages that a worker has taken and not begun, in the order in which they came.
///
/// A batch that kills its worker must not take others with it, delivery by delivery: what comes again is
/// done alone, and whoever has just started takes one at a time until something new comes.
pub(super) struct Turns {
    wary: bool,
    waiting: VecDeque<(u64, Delivery)>,
}

impl Turns {
    pub(super) const fn new() -> Self {
        Self {
            wary: true,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, number: u64, delivery: Delivery) {
        self.waiting.push_back((number, delivery));
    }

    /// The message that is begun now, beside so many at work.
    pub(super) fn next(&mut self, at_work: usize) -> Option<(u64, Delivery)> {
        let wary = self.wary;
        let begun = self
            .waiting
            .pop_front_if(|(_, next)| at_work == 0 || !(wary || next.receives > 1))?;
        self.wary = begun.1.receives > 1;
        Some(begun)
    }

    /// How many messages more may be taken, beside so many at work of at most so many. While one waits to
    /// be alone, none.
    pub(super) fn room(&self, at_work: usize, at_once: usize) -> usize {
        let alone = self.wary || !self.waiting.is_empty();
        let most = if alone { 1 } else { at_once.max(1) };
        most.saturating_sub(at_work + self.waiting.len())
    }

    /// Those that never began.
    pub(super) fn rest(self) -> impl Iterator<Item = u64> {
        self.waiting.into_iter().map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use lance_backfill_ports::queue::Receipt;

    use super::*;

    fn delivery(receives: u32) -> Delivery {
        Delivery {
            body: String::new(),
            receipt: Receipt(String::new()),
            receives,
        }
    }

    #[test]
    fn who_just_started_takes_one_until_something_new_has_begun() {
        let mut turns = Turns::new();
        assert_eq!(turns.room(0, 3), 1);
        turns.push(1, delivery(2));
        assert!(turns.next(0).is_some());
        assert_eq!((turns.room(1, 3), turns.room(0, 3)), (0, 1));
        turns.push(2, delivery(1));
        assert!(turns.next(0).is_some());
        assert_eq!((turns.room(1, 3), turns.room(3, 3)), (2, 0));
    }

    #[test]
    fn what_comes_again_waits_for_all_at_work_and_lets_nothing_past() {
        let mut turns = Turns::new();
        for (number, receives) in [(1, 1), (2, 2), (3, 1), (4, 1)] {
            turns.push(number, delivery(receives));
        }
        let mut next = |at_work| turns.next(at_work).map(|(number, _)| number);
        assert_eq!((next(0), next(1)), (Some(1), None));
        assert_eq!((next(0), next(1)), (Some(2), None));
        assert_eq!((next(0), next(1)), (Some(3), Some(4)));
    }
}
