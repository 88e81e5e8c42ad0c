//! Claims about what a version says of itself and what reads return.

use anyhow::{Context, ensure};
use arrow_array::RecordBatch;
use futures::TryStreamExt;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::table::SeenVersion;

use super::Claim;
use super::fixture::{Start, TableFixture, read, rows, three_fragments, values_of};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "reads return exactly the asked rows, in order, deleted ones included",
        check: |fixture| Box::pin(exact_rows(fixture)),
    },
    Claim {
        name: "scattered rows of a large fragment are read in batches of at most the asked size",
        check: |fixture| Box::pin(scattered_rows(fixture)),
    },
    Claim {
        name: "several columns are read side by side, absent ones as nulls",
        check: |fixture| Box::pin(several_columns(fixture)),
    },
    Claim {
        name: "columns and fragments that are not there are refused",
        check: |fixture| Box::pin(refusals(fixture)),
    },
    Claim {
        name: "a view names fields, fragments in order, and live rows",
        check: |fixture| Box::pin(views(fixture)),
    },
    Claim {
        name: "a version that was seen is opened, whatever else is told of it",
        check: |fixture| Box::pin(seen_versions(fixture)),
    },
    Claim {
        name: "row ids are told exactly when the table has stable ones",
        check: |fixture| Box::pin(row_ids(fixture)),
    },
];

async fn seen_versions(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let old = bench.latest().await?;
    bench.foreign.append(rows(30..40)?).await?;
    let other = bench.foreign.table();
    let new = other.latest().await?;
    let found = new.where_seen();
    let wrong = |size_bytes| SeenVersion {
        version: new.view().version,
        size_bytes,
        tag: Some("another".to_owned()),
    };
    for seen in found.into_iter().chain([0, 1, 40].map(wrong)) {
        let opened = bench.table.seen(&seen).await?;
        let opened = opened.with_context(|| format!("{seen:?} is not there"))?;
        ensure!(opened.view() == new.view(), "{seen:?} is another version");
    }
    let older = old.where_seen().unwrap_or_else(|| SeenVersion {
        version: old.view().version,
        ..wrong(40)
    });
    let opened = bench.table.seen(&older).await?;
    let opened = opened.with_context(|| format!("{older:?} is not there"))?;
    ensure!(opened.view() == old.view(), "{older:?} is another version");
    let absent = SeenVersion {
        version: 999,
        ..wrong(40)
    };
    ensure!(
        bench.table.seen(&absent).await?.is_none(),
        "version 999 is there"
    );
    let latest = bench.latest().await?;
    ensure!(latest.view() == new.view(), "the newest is another one");
    Ok(())
}

async fn exact_rows(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.foreign.delete(&[12, 13, 19]).await?;
    let version = bench.latest().await?;
    let sets = [
        RowSet::full(10),
        RowSet::range(3..7),
        RowSet::from_iter([0, 2, 3, 9]),
        RowSet::from_iter([2]),
        RowSet::from_iter([9]),
    ];
    for set in sets {
        let found = read(version.as_ref(), 1, "a", &set).await?;
        let expected: Vec<_> = set
            .iter()
            .map(|row| Some(100 + 10 * i64::from(row)))
            .collect();
        ensure!(found == expected, "{set:?}: {found:?}");
    }
    let none = read(version.as_ref(), 1, "a", &RowSet::new()).await?;
    ensure!(none.is_empty(), "no rows: {none:?}");
    let deleted = version.deleted_rows(1).await?;
    ensure!(deleted == RowSet::from_iter([2, 3, 9]), "{deleted:?}");
    let untouched = version.deleted_rows(0).await?;
    ensure!(untouched.is_empty(), "fragment 0 lost {untouched:?}");
    Ok(())
}

async fn scattered_rows(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let start = Start {
        fragments: vec![rows(0..5_000)?],
        stable_row_ids: false,
    };
    let foreign = fixture.create(start).await?;
    let version = foreign.table().latest().await?;
    let mut wanted = RowSet::range(100..110);
    wanted.extend(&RowSet::from_iter((1_000..1_400).step_by(7)));
    wanted.extend(&RowSet::range(4_000..4_300));
    wanted.insert(4_999);
    let columns = ["a".to_owned()];
    let batches = version.read(0, &columns, &wanted, 64).await?;
    let batches: Vec<RecordBatch> = batches.try_collect().await?;
    let most = batches.iter().map(RecordBatch::num_rows).max();
    ensure!(most.is_some_and(|most| most <= 64), "a batch has {most:?}");
    let found = values_of(&batches, "a")?;
    let expected: Vec<_> = wanted.iter().map(|row| Some(10 * i64::from(row))).collect();
    ensure!(found == expected, "{} rows", found.len());
    Ok(())
}

async fn several_columns(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let version = bench.latest().await?;
    let columns = ["b", "v", "a"].map(str::to_owned);
    let rows = RowSet::from_iter([1, 4]);
    let batches = version.read(2, &columns, &rows, 100).await?;
    let batches: Vec<RecordBatch> = batches.try_collect().await?;
    ensure!(values_of(&batches, "a")? == [Some(210), Some(240)]);
    ensure!(values_of(&batches, "b")? == [Some(22), Some(25)]);
    ensure!(values_of(&batches, "v")? == [None, None]);
    let alone = read(version.as_ref(), 2, "v", &rows).await?;
    ensure!(alone == [None, None], "alone: {alone:?}");
    Ok(())
}

async fn refusals(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let version = bench.latest().await?;
    let rows = RowSet::full(1);
    let no_column = read(version.as_ref(), 0, "nothing", &rows).await;
    ensure!(no_column.is_err(), "a column that is not there was read");
    let no_fragment = read(version.as_ref(), 77, "a", &rows).await;
    ensure!(no_fragment.is_err(), "fragment 77 was read");
    ensure!(version.deleted_rows(77).await.is_err(), "its deleted rows");
    ensure!(bench.table.at(999).await?.is_none(), "version 999 is there");
    Ok(())
}

async fn views(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.foreign.delete(&[0, 1, 2]).await?;
    bench.foreign.append(rows(30..34)?).await?;
    let version = bench.latest().await?;
    let view = version.view();
    let names: Vec<_> = view
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    ensure!(names == ["id", "a", "b", "v"], "{names:?}");
    let ids: Vec<_> = view.fields.iter().map(|field| field.id).collect();
    ensure!(ids == [0, 1, 2, 3], "field ids {ids:?}");
    for field in &view.fields {
        ensure!(field.tree_ids == [field.id], "{field:?}");
        ensure!(field.data_type == "int64" && field.nullable, "{field:?}");
    }
    let fragments: Vec<_> = view
        .fragments
        .iter()
        .map(|fragment| (fragment.id, fragment.physical_rows, fragment.live_rows()))
        .collect();
    let expected = [(0, 10, 7), (1, 10, 10), (2, 10, 10), (3, 4, 4)];
    ensure!(fragments == expected, "{fragments:?}");
    ensure!(view.live_rows() == 31, "{} live rows", view.live_rows());
    let token = |view: &lance_backfill_core::table::TableView| {
        let deletion = view.fragment(0)?.deletion.clone()?;
        Some(deletion.token)
    };
    let before = token(view).context("no deletion")?;
    bench.foreign.delete(&[4]).await?;
    let after = token(bench.latest().await?.view()).context("no deletion")?;
    ensure!(before != after, "a deletion left the token as it was");
    let schema = version.schema();
    ensure!(schema.fields().len() == 4 && schema.field(3).name() == "v");
    Ok(())
}

async fn row_ids(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let without = three_fragments(fixture, false).await?.latest().await?;
    ensure!(!without.view().stable_row_ids && without.row_ids(0).await?.is_none());
    let bench = three_fragments(fixture, true).await?;
    bench.foreign.delete(&[3]).await?;
    let version = bench.latest().await?;
    ensure!(version.view().stable_row_ids);
    let ids = version.row_ids(1).await?.context("no ids")?;
    ensure!(ids == (10..20).collect::<Vec<u64>>(), "{ids:?}");
    let ids = version.row_ids(0).await?.context("no ids")?;
    ensure!(ids.len() == 10, "deleted rows keep their ids: {ids:?}");
    Ok(())
}
