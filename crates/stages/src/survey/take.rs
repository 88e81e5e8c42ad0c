//! Taking a survey: fragment by fragment, settled ones by their fingerprint alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::commit::Present;
use lance_backfill_core::coverage::{CoverageRecord, Outcome, Run};
use lance_backfill_core::identity::Place;
use lance_backfill_core::ids::{BatchId, FragmentId, GenerationId};
use lance_backfill_core::invariant;
use lance_backfill_core::journey::{Journey, Site};
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::snapshot::{CoverageSnapshot, Entry, OtherGeneration};
use lance_backfill_core::state::{Counts, Identities, classify};
use lance_backfill_core::table::FragmentView;
use lance_backfill_ports::table::{Table, TableVersion};
use lance_backfill_ports::{Error, Result};

use super::happenings::Happenings;
use super::scope::{RecordPlaces, Scope};
use super::{Survey, Unsettled, look, requests};
use crate::column::Column;
use crate::column_store::{LoadedSnapshot, RecordPlace, Sought};
use crate::history::{Historian, Noticing, Told};

/// Fragments looked into at once.
const FRAGMENTS_AT_ONCE: usize = 8;

/// Surveys a column at one version; `upstream` are the surveys of the computed columns it reads.
pub async fn survey(
    table: &dyn Table,
    version: &Arc<dyn TableVersion>,
    column: &Column,
    upstream: &[(&Column, &Survey)],
) -> Result<Survey> {
    Box::pin(survey_for(table, version, column, upstream, Scope::Whole)).await
}

/// The same of a part of the table, or with what somebody might ask for.
pub async fn survey_for(
    table: &dyn Table,
    version: &Arc<dyn TableVersion>,
    column: &Column,
    upstream: &[(&Column, &Survey)],
    scope: Scope<'_>,
) -> Result<Survey> {
    // That an input was renamed must be proven by some fragment, whichever it is.
    let only_finished = matches!(scope, Scope::Finished) && column.bound.renamed_input().is_none();
    let whole = || Box::pin(survey_for(table, version, column, upstream, Scope::Whole));
    let (snapshot, ledger) = match only_finished {
        true => (column.store.known_snapshot(), column.store.ledger().await?),
        false => column.store.snapshot_and_ledger().await?,
    };
    let jobs = requests::find(&ledger, column, scope.asked()).await?;
    let batches: BTreeSet<BatchId> = ledger
        .iter()
        .flat_map(|stored| stored.entry.work())
        .map(|(batch, _)| batch)
        .collect();
    let checkpoints = if batches.is_empty() {
        BTreeMap::new()
    } else {
        column.store.checkpoints(&batches).await?
    };
    let mut happenings = Happenings::index(&ledger, &checkpoints, column, &jobs.ended);
    let noticing = &Noticing::new(table, column, &ledger);
    let question = Question {
        table,
        version,
        column,
        upstream,
        noticing,
    };
    let view = version.view();
    let gone = happenings.gone(view);
    if only_finished && !gone.is_empty() {
        return whole().await;
    }
    let journeys = question.follow(&snapshot, gone).await?;
    happenings.relocate(&journeys);
    let mut survey = Survey {
        version: view.version,
        counts: Counts::default(),
        generations: BTreeMap::new(),
        fragments: view.fragments.len() as u64,
        max_fragment: view.fragments.last().map(|fragment| fragment.id),
        unsettled: BTreeMap::new(),
        open_work: std::mem::take(&mut happenings.open_work),
        ledger,
        checkpoints,
        snapshot: snapshot.clone(),
        newly_settled: BTreeMap::new(),
        requests: jobs.open,
    };
    // What cannot be told any more asks for no row.
    let asks = survey
        .requests
        .iter()
        .any(|request| request.broken.is_none());
    let mut unknown = vec![];
    let mut inputs_hold = false;
    for fragment in &view.fragments {
        let (identities, place) = column.identify(fragment);
        if only_finished && !happenings.may_have_finished(fragment.id, place.as_ref()) {
            continue;
        }
        let print = identities.fingerprint(fragment);
        let settled = snapshot
            .snapshot
            .entries
            .get(&fragment.id)
            .filter(|entry| {
                entry.fingerprint == print
                    || (identities.earlier_of(fragment, entry.fingerprint))
                        .is_some_and(|earlier| was_watched(&snapshot, entry, column, earlier))
            })
            .filter(|_| !asks && !happenings.have_job_work(fragment.id))
            .filter(|_| upstream.iter().all(|(_, survey)| survey.unready(fragment.id).is_empty()))
            // Dependents ask which rows failed, and only the record knows.
            .filter(|entry| !(column.has_dependents && entry.has_failures()))
            .and_then(|entry| Some((entry, settled_counts(&snapshot, entry, column)?)));
        inputs_hold |= settled.is_some_and(|(entry, _)| entry.fingerprint == print);
        match settled {
            Some((entry, counts)) => {
                survey.counts.add(&counts);
                count_generations(
                    &mut survey.generations,
                    entry,
                    snapshot.snapshot.head.generation.as_ref(),
                );
            }
            None => unknown.push((fragment, identities, place, print)),
        }
    }
    let places = RecordPlaces::new(column, &snapshot, &survey.ledger, &happenings);
    let sought: Vec<Sought> = unknown
        .iter()
        .map(|(fragment, identities, place, _)| Sought {
            fragment: fragment.id,
            identities: identities.clone(),
            place: place.clone(),
            record_place: match only_finished {
                // The snapshot may be an old one.
                true => RecordPlace::Anywhere,
                false => places.of(fragment.id, identities),
            },
        })
        .collect();
    let mut records = if sought.is_empty() {
        BTreeMap::new()
    } else {
        column.store.find_records(&sought).await?
    };
    inputs_hold |= sought.iter().any(|sought| {
        records
            .get(&sought.fragment)
            .is_some_and(|record| proves_inputs(record, &sought.identities, column))
    });
    if let (Some((declared, now)), false) = (column.bound.renamed_input(), inputs_hold) {
        return Err(Error::invalid(format!(
            "column '{}' reads '{declared}', and its field is now called '{now}': if that is the same column under a new name, say so with 'column alter --sql' and 'column alter --where' in new names",
            column.name()
        )));
    }
    let puzzling = puzzling(&unknown, &records);
    if only_finished && !puzzling.is_empty() {
        return whole().await;
    }
    let mut told = question.ask_history(&snapshot, &puzzling).await?;
    let requests = &survey.requests;
    let looked: Vec<_> = stream::iter(unknown)
        .map(|(fragment, identities, place, print)| {
            let known = records.remove(&fragment.id).map(Arc::unwrap_or_clone);
            let told = told.remove(&fragment.id).unwrap_or_default();
            async move {
                let origin = if told.supplied {
                    Outcome::Supplied
                } else {
                    Outcome::Unknown
                };
                let carried = told.record.is_some();
                let record = told.record.or(known);
                let (found, live) = look::into(
                    version.as_ref(),
                    column,
                    fragment,
                    &identities,
                    record.clone(),
                    origin,
                    noticing,
                )
                .await?;
                if carried
                    && found == record
                    && let Some(record) = record
                {
                    column.store.create_record(record).await?;
                }
                let mut matching = vec![];
                for request in requests {
                    matching.push(request.matching(version.as_ref(), column, fragment).await?);
                }
                let present = Present {
                    physical_rows: fragment.physical_rows,
                    identities,
                    place,
                    record: found,
                };
                Ok::<_, Error>(Looked {
                    fragment,
                    present,
                    live,
                    matching,
                    print,
                })
            }
        })
        .buffered(FRAGMENTS_AT_ONCE)
        .try_collect()
        .await?;
    for fragment in looked {
        survey.add(fragment, column, upstream, &happenings)?;
    }
    survey.drop_missing(version.as_ref()).await?;
    if !only_finished {
        survey.drop_useless(&journeys);
    }
    invariant::counts_add_up(&survey.counts)
        .map_err(|violation| Error::internal(violation.to_string()))?;
    Ok(survey)
}

/// A fragment that was looked into.
struct Looked<'a> {
    fragment: &'a FragmentView,
    present: Present,
    live: RowSet,
    /// Rows that match the filter of each open request.
    matching: Vec<RowSet>,
    /// Fingerprint of its identities.
    print: u64,
}

type Fragmentary<'a> = (&'a FragmentView, Identities, Option<Place>, u64);

/// What is asked about.
struct Question<'a> {
    table: &'a dyn Table,
    version: &'a Arc<dyn TableVersion>,
    column: &'a Column,
    upstream: &'a [(&'a Column, &'a Survey)],
    noticing: &'a Noticing<'a>,
}

impl Question<'_> {
    /// Asks history about fragments whose state no record tells.
    async fn ask_history(
        &self,
        snapshot: &LoadedSnapshot,
        puzzling: &BTreeSet<FragmentId>,
    ) -> Result<BTreeMap<FragmentId, Told>> {
        let head = &snapshot.snapshot.head;
        let now = self.version.view().version;
        if puzzling.is_empty() || head.table_version == 0 || head.table_version >= now {
            return Ok(BTreeMap::new());
        }
        let upstream: Vec<&Column> = self.upstream.iter().map(|(column, _)| *column).collect();
        let historian = self.historian(snapshot, &upstream);
        Box::pin(historian.tell(puzzling)).await
    }

    /// Where the rows of fragments that are gone lie now.
    async fn follow(
        &self,
        snapshot: &LoadedSnapshot,
        gone: BTreeMap<Site, u64>,
    ) -> Result<BTreeMap<Site, Vec<Journey>>> {
        if gone.is_empty() {
            return Ok(BTreeMap::new());
        }
        Box::pin(self.historian(snapshot, &[]).journeys(gone)).await
    }

    fn historian<'b>(
        &'b self,
        snapshot: &LoadedSnapshot,
        upstream: &'b [&'b Column],
    ) -> Historian<'b> {
        let head = &snapshot.snapshot.head;
        Historian {
            table: self.table,
            latest: self.version,
            column: self.column,
            upstream,
            after: head.table_version,
            max_fragment: head.max_fragment,
            noticing: self.noticing,
        }
    }
}

/// Fragments whose state no record tells for their present identities.
fn puzzling(
    unknown: &[Fragmentary<'_>],
    records: &BTreeMap<FragmentId, Arc<CoverageRecord>>,
) -> BTreeSet<FragmentId> {
    let is_puzzling =
        |(fragment, identities, ..): &&Fragmentary<'_>| match records.get(&fragment.id) {
            Some(record) => record.in_id != identities.watched,
            None => identities.out.is_some(),
        };
    (unknown.iter().filter(is_puzzling))
        .map(|(fragment, ..)| fragment.id)
        .collect()
}

/// Whether an earlier definition watched what the rows of its entry were made from.
fn was_watched(snapshot: &LoadedSnapshot, entry: &Entry, column: &Column, earlier: usize) -> bool {
    let head_generation = snapshot.snapshot.head.generation.as_ref();
    entry
        .generations(head_generation)
        .all(|generation| column.bound.was_watched(earlier, generation))
}

fn settled_counts(snapshot: &LoadedSnapshot, entry: &Entry, column: &Column) -> Option<Counts> {
    entry.settled_counts(
        snapshot.snapshot.head.generation.as_ref(),
        &column.bound.definition,
        &column.bound.generation,
    )
}

fn count_generations(
    generations: &mut BTreeMap<GenerationId, u64>,
    entry: &Entry,
    head_generation: Option<&GenerationId>,
) {
    let [value, null, ..] = entry.rows;
    if let (Some(generation), true) = (head_generation, value + null > 0) {
        *generations.entry(generation.clone()).or_default() += u64::from(value + null);
    }
    let has_values = |other: &&OtherGeneration| other.outcome != Outcome::Failed;
    for other in entry.others.iter().filter(has_values) {
        *generations.entry(other.generation.clone()).or_default() += u64::from(other.rows);
    }
}

/// The same of a fragment whose record is at hand, whatever state its rows are in.
fn count_values(
    generations: &mut BTreeMap<GenerationId, u64>,
    record: &CoverageRecord,
    rows: &RowSet,
) {
    for run in &record.runs {
        let made = rows.intersection(&run.rows).len();
        if let (Outcome::Value | Outcome::Null, Some(generation)) = (run.outcome, &run.generation)
            && made > 0
        {
            *generations.entry(generation.clone()).or_default() += made;
        }
    }
}

/// Whether a record shows that a fragment still has inputs of the present expression: then none of
/// its columns is another one under an id that was given anew.
fn proves_inputs(record: &CoverageRecord, now: &Identities, column: &Column) -> bool {
    let own = |run: &Run| run.generation.as_ref() == Some(&column.bound.generation);
    record.in_id == now.watched
        || (record.runs.iter()).any(|run| own(run) && run.in_id == now.in_id)
}

impl Survey {
    fn add(
        &mut self,
        looked: Looked<'_>,
        column: &Column,
        upstream: &[(&Column, &Self)],
        happenings: &Happenings,
    ) -> Result<()> {
        let Looked {
            fragment,
            present,
            live,
            matching,
            print,
        } = looked;
        let bound = &column.bound;
        let filtered = present
            .record
            .as_ref()
            .map(|record| record.filtered.clone())
            .unwrap_or_default();
        let mut state = classify(
            present.record.as_ref(),
            &present.identities,
            &filtered,
            &live,
            &bound.definition,
            &bound.generation,
        );
        let mut waiting = RowSet::new();
        let mut blocked = RowSet::new();
        for (other, survey) in upstream {
            let unready = survey.unready(fragment.id);
            state.block(&unready.blocked);
            if column.filter_reads(other) {
                state.block_filtered(&unready.blocked);
            }
            waiting.extend(&unready.waiting);
            blocked.extend(&unready.blocked);
        }
        invariant::no_lost_row(&state, &live)
            .map_err(|violation| Error::internal(violation.to_string()))?;
        self.counts.add(&state.counts());
        let head_generation = Some(&bound.generation);
        let entry = present.record.as_ref().and_then(|record| {
            Entry::of(record, &present.identities, print, &live, head_generation)
        });
        if let Some(record) = &present.record {
            let selected = live.difference(&record.filtered);
            count_values(&mut self.generations, record, &selected);
        }
        let mut requested = BTreeMap::new();
        for (request, matching) in self.requests.iter_mut().zip(&matching) {
            let mut rows = request.rows(&present, &live, &state, matching, bound);
            rows.remove(&blocked);
            request.count(&rows, present.record.as_ref(), &live);
            if !rows.is_empty() {
                requested.insert(request.job.clone(), rows);
            }
        }
        let mut unsettled = Unsettled {
            requested,
            live,
            open: RowSet::new(),
            done: RowSet::new(),
            waiting,
            parts: vec![],
            part_rows: RowSet::new(),
            staged_parts: vec![],
            oldest_part_ms: u64::MAX,
            fold_open: false,
            finished: vec![],
            present,
            state,
        };
        happenings.apply(fragment.id, &mut unsettled);
        // What is open for rows that nobody wants, such as deleted ones, keeps nobody waiting.
        unsettled.open = unsettled.open.intersection(&unsettled.wanted());
        let at_rest = unsettled.finished.is_empty()
            && unsettled.parts.is_empty()
            && unsettled.requested.is_empty();
        if unsettled.state.is_settled() && at_rest {
            let CoverageSnapshot { head, entries } = &self.snapshot.snapshot;
            let same_head = head.generation.as_ref() == head_generation;
            let known = entries.get(&fragment.id).filter(|_| same_head);
            if let Some(entry) = entry.filter(|entry| known != Some(entry)) {
                self.newly_settled.insert(fragment.id, entry);
            }
            // Dependents must still see the failed rows.
            if !column.has_dependents || unsettled.state.failed.is_empty() {
                return Ok(());
            }
        }
        self.unsettled.insert(fragment.id, unsettled);
        Ok(())
    }
}
