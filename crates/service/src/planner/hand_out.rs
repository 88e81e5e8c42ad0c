//! Which pages of a column are handed out, in which order, and through which lane.

use lance_backfill_core::batch::{Lane, Work};
use lance_backfill_core::ids::{FragmentId, JobId};
use lance_backfill_core::ledger::{
    Allowance, EntryBody, HoldReason, allowance, approved_left, standing_hold,
};
use lance_backfill_core::plan::Limits;
use lance_backfill_core::route::Route;
use lance_backfill_ports::Result;
use lance_backfill_stages::plan::{Order, PlanOutcome};

use super::outage::Asked;
use super::{Handed, Planning, is_marked};
use crate::limits::limits;

/// Rows in flight in a lane, in seconds of work: beyond it deadlines, cancelling and later rows would
/// wait too long.
const WINDOW_S: f64 = 600.0;
/// Rows, in seconds of work, that go through the fresh lane: more would keep later ones waiting there.
const FRESH_S: f64 = 60.0;

/// Rows that go through the fresh lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fresh {
    /// All that are in need.
    All,
    /// Those of fragments after this one.
    After(FragmentId),
    /// None: there are none, or too many.
    None,
}

/// What came of one page.
enum Paged {
    /// It was sent.
    Sent,
    /// There was nothing for it.
    Empty,
    /// Another entry took its place in the ledger.
    Raced,
}

impl Planning<'_> {
    /// Hands out one page of new rows, one of what people ordered, and one of other rows in need.
    ///
    /// New rows come first, in a lane with a window of its own: they overtake what fills the other.
    pub(super) async fn hand_out(&mut self) -> Result<Handed> {
        let entries = self.survey.entries();
        let approved = approved_left(&entries);
        if let Some(refusal) = &self.refusal {
            // What is finished becomes visible. Once the reason is gone, the next plan goes on.
            self.sent.held = Some(refusal.clone());
            return self.folds(approved, true).await;
        }
        let hold = standing_hold(&entries).map(|(reason, text)| (reason, text.to_owned()));
        if let Some((reason, text)) = &hold {
            self.sent.held = Some(text.clone());
            if *reason == HoldReason::Budget {
                // What is finished becomes visible; nothing else happens until somebody resumes it.
                return self.folds(approved, true).await;
            }
        }
        let probe = match self.ask_breaker().await? {
            Asked::WroteDown(handed) => return Ok(handed),
            Asked::Wait => return self.folds(approved, false).await,
            Asked::Probe => true,
            Asked::HandOut => false,
        };
        let in_need = self.survey.rows_to_hand_out();
        let most = self.column.bound.definition.approval_limit();
        let allowed = match hold.is_none() && self.column.bound.definition.auto {
            true => Some(allowance(in_need, most, approved)),
            false => None,
        };
        // What is approved of them, and how many that are at most.
        let unattended = match allowed {
            Some(Allowance::Free) => Some((0, u64::MAX)),
            Some(Allowance::Approved(rows)) => Some((rows, rows)),
            Some(Allowance::Hold) | None => None,
        };
        let bounds = Bounds { probe };
        let fresh = self.fresh(in_need);
        if let (Some((approved, most)), true) = (unattended, fresh != Fresh::None) {
            let limits = bounds.of(self.limits(Lane::Fresh), most);
            let limits = match fresh {
                Fresh::After(known) => Limits {
                    after: Some(known),
                    ..limits
                },
                Fresh::All | Fresh::None => limits,
            };
            match self.page(None, Lane::Fresh, approved, &limits).await? {
                Paged::Raced => return Ok(Handed::Raced),
                // The others follow, as the next survey finds them.
                Paged::Sent if fresh != Fresh::All || !self.survey.requests.is_empty() => {
                    return Ok(Handed::More);
                }
                Paged::Sent => return Ok(Handed::Done),
                Paged::Empty => {}
            }
        }
        // One page a plan: the next survey tells what it left.
        for request in &self.survey.requests {
            let limits = bounds.of(self.limits(Lane::Bulk), u64::MAX);
            let job = Some(&request.job);
            let before = self.sent.rows;
            match self.page(job, Lane::Bulk, approved, &limits).await? {
                Paged::Raced => return Ok(Handed::Raced),
                Paged::Sent if self.sent.rows > before => return Ok(Handed::Done),
                Paged::Sent => return Ok(Handed::More),
                Paged::Empty => {}
            }
        }
        match (allowed, unattended) {
            (Some(Allowance::Hold), _) => self.hold(in_need, most.unwrap_or_default()).await,
            (_, Some(_)) if fresh == Fresh::All => Ok(Handed::Done),
            (_, Some((approved, most))) => {
                let limits = bounds.of(self.limits(Lane::Bulk), most);
                let paged = self.page(None, Lane::Bulk, approved, &limits).await?;
                self.bulk = matches!(paged, Paged::Sent);
                Ok(handed(&paged))
            }
            (_, None) => self.folds(approved, false).await,
        }
    }

    /// Writes down that rows wait for a person.
    async fn hold(&mut self, in_need: u64, most: u64) -> Result<Handed> {
        let message = format!("{in_need} rows are in need, and more than {most} wait for approval");
        let reason = HoldReason::Approval;
        self.sent.held = Some(message.clone());
        self.note(EntryBody::Hold { reason, message }).await
    }

    /// Writes down what is no work.
    pub(super) async fn note(&mut self, body: EntryBody) -> Result<Handed> {
        let noted = self.engine.note(self.column, self.survey, body).await?;
        Ok(match noted {
            PlanOutcome::LostRace => Handed::Raced,
            PlanOutcome::Dispatched(_) | PlanOutcome::Nothing => Handed::More,
        })
    }

    /// Hands out the folds that are due, or all that can be made, and no rows.
    pub(super) async fn folds(&mut self, approved: u64, fold_now: bool) -> Result<Handed> {
        let limits = Limits {
            most_rows: 0,
            fold_now,
            ..self.limits(Lane::Fresh)
        };
        let paged = self.page(None, Lane::Fresh, approved, &limits).await?;
        Ok(handed(&paged))
    }

    /// Hands out one page, and sends it.
    async fn page(
        &mut self,
        job: Option<&JobId>,
        lane: Lane,
        approved: u64,
        limits: &Limits,
    ) -> Result<Paged> {
        let order = Order {
            job,
            lane,
            session: None,
            approved,
        };
        let outcome = self
            .engine
            .hand_out(self.column, self.survey, limits, order)
            .await?;
        let entry = match outcome {
            PlanOutcome::Dispatched(entry) => entry,
            PlanOutcome::Nothing => return Ok(Paged::Empty),
            PlanOutcome::LostRace => return Ok(Paged::Raced),
        };
        let mut messages = vec![];
        for (batch, work) in entry.work() {
            match &work {
                Work::Compute(spec) => {
                    self.sent.batches += 1;
                    self.sent.rows += spec.rows();
                }
                Work::Fold(_) => self.sent.folds += 1,
            }
            messages.extend(self.message(&entry, &batch, &work, self.seen.as_ref()));
        }
        let queues = &self.service.queues;
        queues.send_batches(messages, self.route).await?;
        if is_marked(&entry) {
            self.column.store.note_sent(&entry).await?;
        }
        Ok(Paged::Sent)
    }

    /// Which rows go through the fresh lane: few enough, and all, or new.
    fn fresh(&self, in_need: u64) -> Fresh {
        let limits = self.limits(Lane::Fresh);
        let few = whole(self.rows_in(FRESH_S, &limits));
        if in_need <= few {
            return Fresh::All;
        }
        let known = self.survey.snapshot.snapshot.head.max_fragment;
        let new = known.map(|known| (known, self.rows_after(known)));
        match new {
            Some((known, rows)) if (1..=few).contains(&rows) => Fresh::After(known),
            _ => Fresh::None,
        }
    }

    /// What bounds the next page: in flight in its lane is no more than the window.
    fn limits(&self, lane: Lane) -> Limits {
        let at_once = match self.route {
            Route::Workers => self.service.options.batches_at_once,
            Route::Class(class) => {
                (self.service.queues.classes.get(class)).map_or(1, |class| class.batches_at_once)
            }
        };
        let limits = limits(self.engine, self.column, self.survey, self.route, at_once);
        let in_flight = self.survey.rows_in_flight(lane);
        Limits {
            most_rows: whole(self.rows_in(WINDOW_S, &limits)).saturating_sub(in_flight),
            ..limits
        }
    }

    /// Rows that can be handed out of fragments after this one.
    fn rows_after(&self, known: FragmentId) -> u64 {
        let needs = self.survey.needs(None, self.engine.now_ms());
        let new = needs.iter().filter(|need| need.fragment > known);
        new.map(|need| need.ready.len()).sum()
    }

    /// Rows that all workers together do in so many seconds.
    fn rows_in(&self, seconds: f64, limits: &Limits) -> f64 {
        limits.rows_per_s * seconds * f64::from(limits.workers.max(1))
    }
}

/// What bounds pages beside their lane.
#[derive(Clone, Copy)]
struct Bounds {
    /// Whether one batch is all that may be handed out.
    probe: bool,
}

impl Bounds {
    fn of(self, limits: Limits, most_rows: u64) -> Limits {
        let limits = Limits {
            most_rows: limits.most_rows.min(most_rows),
            ..limits
        };
        match self.probe {
            true => limits.probe(),
            false => limits,
        }
    }
}

const fn handed(paged: &Paged) -> Handed {
    match paged {
        Paged::Sent | Paged::Empty => Handed::Done,
        Paged::Raced => Handed::Raced,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rows are not negative, and a cast of more than fits gives the most that does"
)]
const fn whole(rows: f64) -> u64 {
    rows as u64
}
