//! How the rows of a batch are put to calls: together, in halves where a call fails, again where
//! waiting may help.

use std::collections::BTreeMap;
use std::ops::Range;

/// Longest wait before another attempt, unless the other side asked for longer.
const LONGEST_BACKOFF_MS: u64 = 60_000;
/// First wait before another attempt; each further one is twice as long.
const FIRST_BACKOFF_MS: u64 = 500;
/// How long rows wait for a rate limit, while nothing gets done, before it counts as an outage.
const LONGEST_RATE_WAIT_MS: u64 = 360_000;

/// Rows that never work, and none that does, before a batch that must end calls that an outage.
const ROWS_THAT_TELL_AN_OUTAGE: usize = 3;

/// Kind of the error of a batched call that gave more or fewer values than it had rows.
pub const WRONG_LENGTH: &str = "wrong_length";

/// Why one row, or the call that held it, has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Stable kind, such as `overflow` or the type of an exception.
    pub kind: String,
    /// One line for a person.
    pub message: String,
    /// Where the function was, if it can tell.
    pub traceback: Option<String>,
    /// Whether trying again may help.
    pub again: Again,
}

/// Whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The same row fails the same way.
    Never,
    /// A device had no memory for the rows together: fewer of them may fit, and a row that does not
    /// fit alone never will.
    Fewer,
    /// It may work later; the other side may have said when.
    Later {
        /// Milliseconds to wait, if they are known.
        after_ms: Option<u64>,
    },
    /// A rate limit: waiting helps, and it counts as no attempt.
    RateLimited {
        /// Milliseconds to wait, if they are known.
        after_ms: Option<u64>,
    },
}

/// Rows that are called together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Places in the batch.
    pub rows: Range<usize>,
    /// Milliseconds to wait before the call.
    pub wait_ms: u64,
    /// Attempts that ended in a transient error.
    tries: u32,
    limited: Limited,
    /// Whether it asks a row again that has its result already.
    control: bool,
}

/// How long rows waited for a rate limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Limited {
    waits: u32,
    waited_ms: u64,
    /// The state of progress that this is counted from.
    since: u64,
}

/// What came back of a piece.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Rows from the piece's start that have a result or an error of their own.
    pub finished: usize,
    /// Of these, the ones with an error, by place in the piece.
    pub failed: Vec<(usize, RowError)>,
    /// What became of the rest.
    pub end: End,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// All rows of it are finished.
    Complete,
    /// It raised: some row that is not finished is to blame, unless it is transient.
    Raised(RowError),
    /// It took its process with it, or had to be killed; the place of the row it was at, if known.
    Killed {
        /// Place in the piece.
        row: Option<usize>,
        /// How it died.
        error: RowError,
    },
}

/// A row that failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRow {
    /// Place in the batch.
    pub place: usize,
    /// Why.
    pub error: RowError,
    /// Attempts made.
    pub attempts: u32,
}

/// What an answer settles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settled {
    /// Places with a result.
    pub done: Vec<Range<usize>>,
    /// Rows that failed for good.
    pub failed: Vec<FailedRow>,
}

/// What hits every row, and is no row's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outage {
    /// No row has a result after all attempts.
    EveryRowFailed(RowError),
    /// The function gives the wrong number of values for rows together, and the right one for each.
    NotByRow(RowError),
    /// A rate limit that let nothing through for long.
    Limited {
        /// What the other side says.
        error: RowError,
        /// Milliseconds that were waited for it.
        waited_ms: u64,
    },
    /// No row has a result, and the next attempt must wait for longer than a batch may.
    PutOff(RowError),
}

/// The calls that the rows of one batch still need.
#[derive(Debug, Clone)]
pub struct Calls {
    /// Attempts before a transient error counts.
    max_attempts: u32,
    /// By their first row.
    waiting: BTreeMap<usize, Piece>,
    /// Still transient after all attempts: rows or an outage, depending on the others; each with the
    /// state of progress at its last attempt.
    exhausted: Vec<(FailedRow, u64)>,
    /// Rows that were put off since their wait would be too long, and what asked for it.
    put_off: Option<RowError>,
    /// Why rows were tried again last.
    transient: Option<RowError>,
    /// A row that has a result.
    good: Option<usize>,
    /// Pieces that are called.
    running: usize,
    outage: Option<Outage>,
    /// First rows of pairs that had the wrong number of values together, and how many of the two had
    /// the right one alone.
    pairs: BTreeMap<usize, (RowError, usize)>,
    /// Grows whenever rows get done, here or in other batches of the function.
    progress: u64,
}

impl Calls {
    /// All rows of a batch.
    pub fn new(rows: usize, max_attempts: u32) -> Self {
        let all = Piece {
            rows: 0..rows,
            wait_ms: 0,
            tries: 0,
            limited: Limited::default(),
            control: false,
        };
        Self {
            max_attempts,
            waiting: std::iter::once((0, all)).filter(|_| rows > 0).collect(),
            exhausted: vec![],
            put_off: None,
            transient: None,
            good: None,
            running: 0,
            outage: None,
            pairs: BTreeMap::new(),
            progress: 0,
        }
    }

    /// The next rows to call, `most` of them at most: those that need not wait before those that must.
    pub fn take(&mut self, most: usize) -> Option<Piece> {
        self.take_of(most, |_| true)
    }

    /// The next rows to call of those that must not be left to another batch, which would begin to
    /// count their attempts anew: `most` of them at most.
    pub fn take_begun(&mut self, most: usize) -> Option<Piece> {
        let stuck = self.progress == 0;
        let begun = |piece: &Piece| piece.tries > 0 || (stuck && piece.limited.waits > 0);
        // A row or two that never work tell nothing of the others.
        let tells = match self.exhausted.len() {
            0 => true,
            rows => self.good.is_some() || rows >= ROWS_THAT_TELL_AN_OUTAGE,
        };
        match self.waiting.values().any(begun) || tells {
            true => self.take_of(most, begun),
            false => self.take_of(1, |_| true),
        }
    }

    fn take_of(&mut self, most: usize, which: impl Fn(&Piece) -> bool) -> Option<Piece> {
        if self.outage.is_some() {
            return None;
        }
        let next = (self.waiting.iter())
            .filter(|(_, piece)| which(piece))
            .min_by_key(|(start, piece)| (piece.wait_ms, **start));
        let Some((start, _)) = next else {
            let control = self.control()?;
            self.running += 1;
            return Some(control);
        };
        let start = *start;
        let mut piece = self.waiting.remove(&start)?;
        let end = start.saturating_add(most.max(1)).min(piece.rows.end);
        let rest = end..piece.rows.end;
        piece.rows.end = end;
        self.requeue(rest, &piece, piece.wait_ms);
        self.running += 1;
        Some(piece)
    }

    /// A row that has its result, where nothing got done since others failed for good.
    ///
    /// SUBTLE: an outage may begin in the middle of a batch. Then the rows before it have results, and
    /// those after it are still transient after all attempts, like rows that never work. A row that
    /// worked tells them apart: if even it does not work any more, the others are not to blame. To
    /// count failures in a row instead would blame the last few, or never give up on rows that stand
    /// together at the end.
    fn control(&self) -> Option<Piece> {
        let doubtful = self.running == 0 && self.trailing() > 0;
        let place = self.good.filter(|_| doubtful)?;
        Some(Piece {
            rows: place..place + 1,
            wait_ms: 0,
            tries: 0,
            limited: Limited::default(),
            control: true,
        })
    }

    /// Rows that failed for good, and nothing got done since.
    fn trailing(&self) -> usize {
        let since = |(_, progress): &&(FailedRow, u64)| *progress == self.progress;
        self.exhausted.iter().filter(since).count()
    }

    /// Leaves rows that [`Calls::take`] gave to another batch, since they would have to wait for too long.
    pub fn put_off(&mut self, piece: &Piece) {
        let Piece { wait_ms, .. } = piece;
        self.running -= 1;
        let unknown = || RowError {
            kind: "put_off".to_owned(),
            message: format!("another attempt must wait for {wait_ms} ms"),
            traceback: None,
            again: Again::Later { after_ms: None },
        };
        self.put_off = self.transient.clone().or_else(|| Some(unknown()));
    }

    /// Takes note of rows that got done elsewhere: a rate limit that lets others through is no outage.
    pub const fn progressed(&mut self) {
        self.progress += 1;
    }

    /// Rows that wait for a call.
    pub fn waiting_rows(&self) -> usize {
        let waiting: usize = self.waiting.values().map(|piece| piece.rows.len()).sum();
        match waiting == 0 && self.outage.is_none() {
            true => usize::from(self.control().is_some()),
            false => waiting,
        }
    }

    /// Takes what came of a piece that [`Calls::take`] gave.
    pub fn answer(&mut self, piece: &Piece, answered: Answered) -> Settled {
        let Answered {
            finished,
            failed,
            end,
        } = answered;
        self.running -= 1;
        if piece.control {
            self.compare_with_control(failed.first().map(|(_, error)| error), &end);
            return Settled::default();
        }
        let rest = piece.rows.start + finished.min(piece.rows.len())..piece.rows.end;
        let mut settled = Settled::default();
        let mut next = piece.rows.start;
        for (place, error) in failed {
            let place = piece.rows.start + place;
            push_range(&mut settled.done, next..place);
            next = place + 1;
            self.fail(place, piece, error, &mut settled);
        }
        push_range(&mut settled.done, next..rest.start);
        if let Some(done) = settled.done.last() {
            self.good = Some(done.start);
            self.progress += 1;
            self.compare_with_pair(piece);
        }
        match end {
            End::Complete => {}
            End::Raised(error) => self.raised(rest, piece, error, &mut settled),
            End::Killed { row, error } => {
                let at = row.map(|row| piece.rows.start + row);
                match at.filter(|at| rest.contains(at)) {
                    Some(at) => {
                        self.requeue(rest.start..at, piece, 0);
                        self.requeue(at + 1..rest.end, piece, 0);
                        self.fail(at, piece, error, &mut settled);
                    }
                    None => self.raised(rest, piece, error, &mut settled),
                }
            }
        }
        settled
    }

    /// Ends the batch: rows that stayed transient failed, unless no row of it ever succeeded.
    ///
    /// `others_succeeded` says whether rows outside of it did. What hits everything is an outage and
    /// no row's failure.
    pub fn finish(self, others_succeeded: bool) -> Result<Vec<FailedRow>, Outage> {
        let none_here = self.good.is_none();
        let none_at_all = none_here && !others_succeeded;
        // No row here can be asked again; so many that fail together are not each to blame.
        let together = none_here && self.trailing() >= ROWS_THAT_TELL_AN_OUTAGE;
        match (self.outage, self.exhausted.first(), self.put_off) {
            (Some(outage), ..) => Err(outage),
            (None, Some((first, _)), _) if none_at_all || together => {
                Err(Outage::EveryRowFailed(first.error.clone()))
            }
            (None, None, Some(error)) if none_at_all => Err(Outage::PutOff(error)),
            (None, ..) => Ok(self.exhausted.into_iter().map(|(row, _)| row).collect()),
        }
    }

    /// A row that worked was asked again.
    fn compare_with_control(&mut self, failed: Option<&RowError>, end: &End) {
        let error = match end {
            End::Complete => failed,
            End::Raised(error) | End::Killed { error, .. } => Some(error),
        };
        let passes = |error: &&RowError| {
            matches!(error.again, Again::Later { .. } | Again::RateLimited { .. })
        };
        match error.filter(passes) {
            Some(error) => self.outage = Some(Outage::EveryRowFailed(error.clone())),
            // Whatever it said, somebody answered.
            None => self.progress += 1,
        }
    }

    /// A row has an error of its own.
    fn fail(&mut self, place: usize, piece: &Piece, error: RowError, settled: &mut Settled) {
        let row = |error: RowError| FailedRow {
            place,
            error,
            attempts: piece.tries + 1,
        };
        match error.again {
            Again::Never | Again::Fewer => settled.failed.push(row(error)),
            Again::Later { .. } if piece.tries + 1 >= self.max_attempts => {
                self.exhausted.push((row(error), self.progress));
            }
            Again::Later { .. } | Again::RateLimited { .. } => {
                self.later(place..place + 1, piece, error);
            }
        }
    }

    /// A call raised, and the rows of `rest` have no result.
    fn raised(
        &mut self,
        rest: Range<usize>,
        piece: &Piece,
        error: RowError,
        settled: &mut Settled,
    ) {
        let alone = rest.len() == 1;
        match error.again {
            Again::Never | Again::Fewer if alone => {
                self.fail(rest.start, piece, error, settled);
            }
            Again::Never | Again::Fewer => {
                if error.kind == WRONG_LENGTH && rest.len() == 2 {
                    self.pairs.insert(rest.start, (error, 0));
                }
                self.halve(rest, piece);
            }
            Again::Later { .. } if piece.tries + 1 < self.max_attempts => {
                self.later(rest, piece, error);
            }
            Again::Later { .. } if alone => self.fail(rest.start, piece, error, settled),
            // After as many attempts as it may have it is looked for like any other failing row.
            Again::Later { .. } => self.halve(rest, piece),
            Again::RateLimited { .. } => self.later(rest, piece, error),
        }
    }

    /// A function that fails because of a row fails for it alone, too; one that never does has no value
    /// for each row, and what it gave for single rows means something else.
    fn compare_with_pair(&mut self, piece: &Piece) {
        if piece.rows.len() != 1 {
            return;
        }
        let place = piece.rows.start;
        for first in [place.checked_sub(1), Some(place)].into_iter().flatten() {
            if let Some((error, alone)) = self.pairs.get_mut(&first) {
                *alone += 1;
                if *alone == 2 {
                    self.outage = Some(Outage::NotByRow(error.clone()));
                }
            }
        }
    }

    /// Rows that are tried again after a while.
    fn later(&mut self, rows: Range<usize>, piece: &Piece, error: RowError) {
        if rows.is_empty() {
            return;
        }
        self.transient = Some(error.clone());
        let mut again = Piece {
            rows,
            ..piece.clone()
        };
        match error.again {
            Again::Never | Again::Fewer => again.wait_ms = 0,
            Again::Later { after_ms } => {
                again.wait_ms = backoff_ms(piece.tries, after_ms);
                again.tries += 1;
            }
            Again::RateLimited { after_ms } => {
                let mut limited = piece.limited;
                if limited.since != self.progress {
                    limited = Limited {
                        since: self.progress,
                        ..Limited::default()
                    };
                }
                if limited.waited_ms >= LONGEST_RATE_WAIT_MS {
                    self.outage = Some(Outage::Limited {
                        error,
                        waited_ms: limited.waited_ms,
                    });
                }
                again.wait_ms = limit_wait_ms(limited.waits, after_ms);
                limited.waits += 1;
                limited.waited_ms = limited.waited_ms.saturating_add(again.wait_ms);
                again.limited = limited;
            }
        }
        // Neighbours that failed alike are called together again.
        let touching = (self.waiting.range(..again.rows.start).next_back())
            .filter(|(_, before)| {
                before.rows.end == again.rows.start
                    && (before.wait_ms, before.tries, before.limited)
                        == (again.wait_ms, again.tries, again.limited)
            })
            .map(|(start, _)| *start);
        match touching.and_then(|start| self.waiting.get_mut(&start)) {
            Some(before) => before.rows.end = again.rows.end,
            None => {
                self.waiting.insert(again.rows.start, again);
            }
        }
    }

    fn halve(&mut self, rows: Range<usize>, piece: &Piece) {
        let middle = rows.start + rows.len() / 2;
        self.requeue(rows.start..middle, piece, 0);
        self.requeue(middle..rows.end, piece, 0);
    }

    fn requeue(&mut self, rows: Range<usize>, piece: &Piece, wait_ms: u64) {
        if !rows.is_empty() {
            let again = Piece {
                rows: rows.clone(),
                wait_ms,
                tries: piece.tries,
                limited: piece.limited,
                control: false,
            };
            self.waiting.insert(rows.start, again);
        }
    }
}

/// How long to wait after so many tries: twice as long each time, and as long as the other side asks.
pub fn backoff_ms(tries: u32, after_ms: Option<u64>) -> u64 {
    let own = FIRST_BACKOFF_MS.saturating_mul(1 << tries.min(16));
    own.min(LONGEST_BACKOFF_MS).max(after_ms.unwrap_or(0))
}

/// How long to wait for a rate limit: as long as the other side says, and little longer each time that
/// it was wrong.
fn limit_wait_ms(waits: u32, after_ms: Option<u64>) -> u64 {
    let own = backoff_ms(waits, None);
    after_ms.map_or(own, |after| after.max(own / 10))
}

fn push_range(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    if !range.is_empty() {
        ranges.push(range);
    }
}

#[cfg(test)]
mod tests;
