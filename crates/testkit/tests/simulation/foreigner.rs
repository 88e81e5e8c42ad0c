//! Others who write to the table, and a plain model of what it must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::table::{PublishNote, PublishOutcome, Table, TableVersion};
use lance_backfill_testkit::faulty::yield_now;
use lance_backfill_testkit::{MemTable, Random};

use crate::column::ints;
use crate::trace::Trace;

/// What a row must hold.
#[derive(Debug, Clone, Copy)]
struct Row {
    a: Option<i64>,
    b: Option<i64>,
    /// A value of `p` that somebody wrote, which stands.
    supplied: Option<i64>,
    /// Whether the state was lost since: it stands as long as the inputs do.
    forgotten: bool,
    /// What stood there when the inputs changed after that: a process that remembers keeps it.
    remembered: Option<i64>,
}

impl Row {
    fn set(&mut self, column: &str, value: Option<i64>) {
        let input = match column {
            "a" => &mut self.a,
            "b" => &mut self.b,
            _ => {
                self.supplied = value;
                self.forgotten = false;
                self.remembered = None;
                return;
            }
        };
        if *input != value && self.forgotten {
            self.remembered = self.supplied.take().or(self.remembered);
        }
        *input = value;
    }
}

pub(crate) struct Foreigner {
    table: MemTable,
    random: Random,
    rows: BTreeMap<i64, Row>,
    next_id: i64,
    trace: Trace,
}

/// Rows with ids from `first` on; every seventh `a` is NULL.
pub(crate) fn rows(first: i64, count: i64) -> anyhow::Result<RecordBatch> {
    let nullable = |name: &str| Field::new(name, DataType::Int64, true);
    let schema = Schema::new(vec![nullable("id"), nullable("a"), nullable("b")]);
    let ids = first..first + count;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids.clone().collect::<Int64Array>()),
        Arc::new(ids.clone().map(first_a).collect::<Int64Array>()),
        Arc::new(ids.map(|id| id + 1).collect::<Int64Array>()),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

fn first_a(id: i64) -> Option<i64> {
    (id % 7 != 3).then_some(id * 3)
}

impl Foreigner {
    pub(crate) fn new(table: &MemTable, seed: u64, count: i64, trace: &Trace) -> Self {
        let mut all = Self {
            table: table.clone(),
            random: Random::new(seed),
            rows: BTreeMap::new(),
            next_id: 0,
            trace: trace.clone(),
        };
        all.expect_rows(count, false);
        all
    }

    fn expect_rows(&mut self, count: i64, supplied: bool) {
        for id in self.next_id..self.next_id + count {
            let row = Row {
                a: first_a(id),
                b: Some(id + 1),
                supplied: supplied.then_some(1_000_000 + id),
                forgotten: false,
                remembered: None,
            };
            self.rows.insert(id, row);
        }
        self.next_id += count;
    }

    /// Does some things to the table, giving way in between.
    pub(crate) async fn run(&mut self, times: u64, hardship: Hardship) -> anyhow::Result<()> {
        for _ in 0..times {
            yield_now(self.random.below(60)).await;
            let kind = self.random.below(12);
            let patches_p = kind == 6 || kind == 8;
            if !patches_p || hardship == Hardship::CorrectionsAtAnyTime {
                self.act(kind).await?;
            }
        }
        Ok(())
    }

    /// All rows are to be computed again: what somebody wrote before does not stand any more.
    pub(crate) fn give_up_corrections(&mut self) {
        for row in self.rows.values_mut() {
            row.supplied = None;
            row.remembered = None;
        }
    }

    /// The state was lost: a value that somebody wrote cannot be told from a computed one.
    pub(crate) fn forget_origins(&mut self) {
        for row in self.rows.values_mut() {
            row.forgotten = true;
        }
    }

    /// Corrects some values in place.
    pub(crate) async fn correct(&mut self) -> anyhow::Result<()> {
        let kind = if self.random.below(3) == 0 { 8 } else { 6 };
        self.act(kind).await
    }

    /// Writes values of its own, in place, in rows that move, or in new ones.
    pub(crate) async fn supply(&mut self) -> anyhow::Result<()> {
        let kind = match self.random.below(3) {
            0 => 1,
            1 => 6,
            _ => 7,
        };
        self.act(kind).await
    }

    async fn act(&mut self, kind: u64) -> anyhow::Result<()> {
        let fresh = 10_000 + i64::try_from(self.random.below(1_000))?;
        let ids = self.some_ids()?;
        if ids.is_empty() && kind > 1 {
            return Ok(());
        }
        self.trace.tell(format!("other {kind} {fresh} {ids:?}"));
        match kind {
            0 => self.append(false),
            1 => self.append(true),
            2 => self.delete(&ids),
            3 => self.set(&ids, "a", Some(fresh), Way::Move),
            4 => self.set(&ids, "a", Some(fresh), Way::Patch),
            5 => self.set(&ids, "b", Some(fresh), Way::Move),
            6 => self.set(&ids, "p", Some(fresh * 1_000), Way::Patch),
            7 => self.set(&ids, "p", Some(fresh * 1_000), Way::Move),
            8 => self.set(&ids, "p", None, Way::Patch),
            9 => self.set(&ids, "b", None, Way::Patch),
            10 => self.replace("a", fresh).await,
            _ => self.compact().await,
        }
    }

    fn some_ids(&mut self) -> anyhow::Result<Vec<i64>> {
        let all: Vec<i64> = self.rows.keys().copied().collect();
        let mut ids = vec![];
        for _ in 0..=self.random.below(4) {
            if all.is_empty() {
                break;
            }
            let nth = usize::try_from(self.random.below(all.len() as u64))?;
            ids.extend(all.get(nth));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn append(&mut self, supplied: bool) -> anyhow::Result<()> {
        let first = self.next_id;
        let count = 1 + i64::try_from(self.random.below(12))?;
        let mut batch = rows(first, count)?;
        if supplied {
            let mut fields = batch.schema().fields().to_vec();
            fields.push(Arc::new(Field::new("p", DataType::Int64, true)));
            let mut columns = batch.columns().to_vec();
            let values = (first..first + count).map(|id| 1_000_000 + id);
            columns.push(Arc::new(values.collect::<Int64Array>()));
            batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        }
        self.table.append(&batch)?;
        self.expect_rows(count, supplied);
        Ok(())
    }

    fn delete(&mut self, ids: &[i64]) -> anyhow::Result<()> {
        self.table.delete(&self.table.rows_where("id", ids)?)?;
        for id in ids {
            self.rows.remove(id);
        }
        Ok(())
    }

    fn set(
        &mut self,
        ids: &[i64],
        column: &str,
        value: Option<i64>,
        way: Way,
    ) -> anyhow::Result<()> {
        let selection = self.table.rows_where("id", ids)?;
        let values: ArrayRef = Arc::new(Int64Array::from(vec![value; ids.len()]));
        match way {
            Way::Move => self.table.update(&selection, &[(column, values)])?,
            Way::Patch => self.table.patch(&selection, &[(column, values)])?,
        };
        for id in ids {
            if let Some(row) = self.rows.get_mut(id) {
                row.set(column, value);
            }
        }
        Ok(())
    }

    /// Replaces the file of an input column of one fragment.
    async fn replace(&mut self, column: &str, fresh: i64) -> anyhow::Result<()> {
        let latest = self.table.latest().await?;
        let fragments = &latest.view().fragments;
        let Some(nth) = self.random.next_u64().checked_rem(fragments.len() as u64) else {
            return Ok(());
        };
        let Some(fragment) = fragments.get(usize::try_from(nth)?) else {
            return Ok(());
        };
        let all = RowSet::full(fragment.physical_rows);
        let names = ["id".to_owned()];
        let read = latest.read(fragment.id, &names, &all, u32::MAX).await?;
        let batches: Vec<RecordBatch> = read.try_collect().await?;
        let ids: Vec<i64> = batches
            .iter()
            .filter_map(|batch| ints(batch, "id"))
            .flat_map(|ids| ids.iter().flatten().collect::<Vec<_>>())
            .collect();
        let deleted = latest.deleted_rows(fragment.id).await?;
        let values: ArrayRef = Arc::new(ids.iter().map(|id| fresh + id).collect::<Int64Array>());
        let values = RecordBatch::try_from_iter([(column, values)])?;
        let values = stream::iter([Ok(values)]).boxed();
        let columns = [column.to_owned()];
        let staged = latest.stage_columns(fragment.id, &columns, values).await;
        let files = [(fragment.id, staged?)];
        let outcome = latest
            .publish(&columns, &files, &PublishNote::default())
            .await?;
        if matches!(outcome, PublishOutcome::Published { .. }) {
            for (offset, id) in (0_u32..).zip(ids) {
                if let (false, Some(row)) = (deleted.contains(offset), self.rows.get_mut(&id)) {
                    row.set(column, Some(fresh + id));
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn compact(&mut self) -> anyhow::Result<()> {
        let latest = self.table.latest().await?;
        let fragments: Vec<FragmentId> = latest.view().fragments.iter().map(|f| f.id).collect();
        if fragments.is_empty() {
            return Ok(());
        }
        let from = usize::try_from(self.random.below(fragments.len() as u64))?;
        let many = 1 + usize::try_from(self.random.below(3))?;
        let some: Vec<FragmentId> = fragments.into_iter().skip(from).take(many).collect();
        self.trace.tell(format!("other compacts {some:?}"));
        self.table.compact(&some)?;
        Ok(())
    }

    /// What is wrong with the newest version, row by row.
    pub(crate) async fn differences(&self, filtered: bool) -> anyhow::Result<Vec<String>> {
        let version = self.table.latest().await?;
        let mut wrong = vec![];
        let mut seen = 0;
        for (id, a, b, p) in live_rows(version.as_ref()).await? {
            seen += 1;
            let Some(row) = self.rows.get(&id) else {
                wrong.push(format!("row {id} should not be there"));
                continue;
            };
            if (row.a, row.b) != (a, b) {
                wrong.push(format!(
                    "row {id} has inputs {a:?} {b:?}: the double is wrong"
                ));
            }
            let selected = !filtered || row.b.is_some_and(|b| b % 2 != 0);
            let product = row.a.zip(row.b).map(|(a, b)| a * b);
            let expected = row.supplied.or(product);
            // What stands in a row that the filter does not select is nobody's business.
            let remembered = p.is_some() && p == row.remembered;
            // Without the state nobody knows that it was not computed.
            let recomputed = row.forgotten && p == product;
            if selected && p != expected && !remembered && !recomputed {
                wrong.push(format!(
                    "row {id} has {p:?} instead of {expected:?}: {row:?}"
                ));
            }
        }
        if seen != self.rows.len() {
            wrong.push(format!("{seen} of {} rows are there", self.rows.len()));
        }
        Ok(wrong)
    }
}

/// What happens beyond the ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hardship {
    /// Nothing: others correct values of `p` in place only while no work is under way.
    Ordinary,
    /// Others correct values of `p` in place whenever they like.
    CorrectionsAtAnyTime,
    /// The state store is deleted now and then, and inputs change after that.
    LostState,
}

/// How somebody sets a column.
enum Way {
    Move,
    Patch,
}

type Values = (i64, Option<i64>, Option<i64>, Option<i64>);

async fn live_rows(version: &dyn TableVersion) -> anyhow::Result<Vec<Values>> {
    let columns = ["id", "a", "b", "p"].map(str::to_owned);
    let mut found = vec![];
    for fragment in &version.view().fragments {
        let deleted = version.deleted_rows(fragment.id).await?;
        let live = RowSet::full(fragment.physical_rows).difference(&deleted);
        let batches = version.read(fragment.id, &columns, &live, 1_000).await?;
        let batches: Vec<RecordBatch> = batches.try_collect().await?;
        for batch in &batches {
            let column = |name| ints(batch, name).ok_or_else(|| anyhow::anyhow!("no {name}"));
            let (ids, left, right, product) =
                (column("id")?, column("a")?, column("b")?, column("p")?);
            let rows = ids
                .iter()
                .zip(left.iter())
                .zip(right.iter().zip(product.iter()));
            for ((id, a), (b, p)) in rows {
                found.push((id.unwrap_or(-1), a, b, p));
            }
        }
    }
    Ok(found)
}
