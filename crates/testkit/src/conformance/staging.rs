//! Claims about staging and publishing without anybody in the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::ensure;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::definition::BINDING_KEY;
use lance_backfill_core::history::ChangeKind;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::table::{PublishNote, PublishOutcome};
use lance_backfill_ports::{Error, ErrorKind};

use super::Claim;
use super::fixture::{TableFixture, publish, read, rows, stage, three_fragments, values_of};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "a staged file is seen only once it is published, and elsewhere nothing changes",
        check: |fixture| Box::pin(visible_after_publish(fixture)),
    },
    Claim {
        name: "a staged file can be read before it is published",
        check: |fixture| Box::pin(read_staged(fixture)),
    },
    Claim {
        name: "a staged file has as many rows as the fragment, deleted ones included",
        check: |fixture| Box::pin(row_count(fixture)),
    },
    Claim {
        name: "an error of the values stops the staging and comes back as it was",
        check: |fixture| Box::pin(error_of_values(fixture)),
    },
    Claim {
        name: "a staged file exists with the size that it was written with",
        check: |fixture| Box::pin(existence(fixture)),
    },
    Claim {
        name: "files of several fragments are published together and say whose they are",
        check: |fixture| Box::pin(together(fixture)),
    },
    Claim {
        name: "a column that an append supplied can be replaced",
        check: |fixture| Box::pin(supplied(fixture)),
    },
];

async fn visible_after_publish(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.fill("v", 0, 500).await?;
    bench.foreign.delete(&[12]).await?;
    let before = bench.latest().await?;
    let file = stage(before.as_ref(), 1, "v", 700).await?;
    let unseen = read(bench.latest().await?.as_ref(), 1, "v", &RowSet::full(10)).await?;
    ensure!(unseen == [None; 10], "before publication: {unseen:?}");
    let outcome = publish(before.as_ref(), "v", 1, &file).await?;
    let after = bench.latest().await?;
    let version = after.view().version;
    ensure!(
        outcome == PublishOutcome::Published { version },
        "{outcome:?}"
    );
    let all = RowSet::full(10);
    let expected = |base: i64| (base..base + 10).map(Some).collect::<Vec<_>>();
    ensure!(read(after.as_ref(), 1, "v", &all).await? == expected(700));
    ensure!(read(after.as_ref(), 0, "v", &all).await? == expected(500));
    ensure!(read(after.as_ref(), 2, "v", &all).await? == [None; 10]);
    ensure!(after.deleted_rows(1).await? == RowSet::from_iter([2]));
    ensure!(
        read(before.as_ref(), 1, "v", &all).await? == [None; 10],
        "an old version changed"
    );
    Ok(())
}

async fn read_staged(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.fill("v", 0, 500).await?;
    let version = bench.latest().await?;
    let file = stage(version.as_ref(), 0, "v", 900).await?;
    let rows = RowSet::from_iter([0, 3, 9]);
    bench.foreign.delete(&[3]).await?;
    bench.foreign.compact(&[0, 1]).await?;
    // Also when its fragment is gone.
    for version in [version, bench.latest().await?] {
        let batches = version
            .read_staged(&["v".to_owned()], &file, &rows, 2)
            .await?;
        let batches: Vec<RecordBatch> = batches.try_collect().await?;
        let found = values_of(&batches, "v")?;
        ensure!(found == [Some(900), Some(903), Some(909)], "{found:?}");
    }
    Ok(())
}

async fn row_count(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.foreign.delete(&[0]).await?;
    let version = bench.latest().await?;
    for (count, fits) in [(9, false), (10, true), (11, false)] {
        let stream = stream::iter([Ok(of_v(count)?)]).boxed();
        let staged = version.stage_columns(0, &["v".to_owned()], stream).await;
        ensure!(staged.is_ok() == fits, "{count} values: {staged:?}");
        if let Ok(file) = staged {
            ensure!(file.physical_rows == 10 && file.over.is_none(), "{file:?}");
        }
    }
    Ok(())
}

fn of_v(rows: i64) -> anyhow::Result<RecordBatch> {
    let values: ArrayRef = Arc::new((0..rows).collect::<Int64Array>());
    Ok(RecordBatch::try_from_iter([("v", values)])?)
}

async fn error_of_values(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let version = bench.latest().await?;
    let fails = Error::new(ErrorKind::Corrupt, "ours");
    let stream = stream::iter([Ok(of_v(5)?), Err(fails)]).boxed();
    match version.stage_columns(0, &["v".to_owned()], stream).await {
        Ok(_) => anyhow::bail!("staged in spite of the error"),
        Err(error) => ensure!(
            error.kind == ErrorKind::Corrupt && error.context == "ours",
            "came back as {error:?}"
        ),
    }
    Ok(())
}

async fn existence(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let version = bench.latest().await?;
    let file = stage(version.as_ref(), 0, "v", 1).await?;
    ensure!(version.staged_exists(&file).await?, "just staged");
    let mut other = file.clone();
    other.size_bytes += 1;
    ensure!(!version.staged_exists(&other).await?, "of another size");
    let mut missing = file.clone();
    missing.name = format!("0{}", file.name);
    ensure!(!version.staged_exists(&missing).await?, "of another name");
    let again = stage(version.as_ref(), 0, "v", 1).await?;
    ensure!(again.name != file.name, "names of staged files are fresh");
    Ok(())
}

async fn together(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let version = bench.latest().await?;
    let files = [
        (0, stage(version.as_ref(), 0, "v", 100).await?),
        (2, stage(version.as_ref(), 2, "v", 300).await?),
    ];
    let properties = BTreeMap::from([(BINDING_KEY.to_owned(), "b-1".to_owned())]);
    let outcome = version
        .publish(&["v".to_owned()], &files, &PublishNote { properties })
        .await?;
    let PublishOutcome::Published { version: made } = outcome else {
        anyhow::bail!("{outcome:?}");
    };
    let values = bench.values("v").await?;
    ensure!(values.get(&0) == Some(&Some(100)) && values.get(&29) == Some(&Some(309)));
    let changes = bench.table.changes(version.view().version, made).await?;
    let [change] = changes.as_slice() else {
        anyhow::bail!("{changes:?}");
    };
    let ChangeKind::Replacement {
        fragments,
        fields,
        binding,
    } = &change.kind
    else {
        anyhow::bail!("{change:?}");
    };
    let field = bench.field("v").await?.id;
    ensure!(fragments == &[0, 2], "{fragments:?}");
    ensure!(
        fields.iter().all(|id| *id == field) && !fields.is_empty(),
        "{fields:?}"
    );
    ensure!(
        binding.as_ref().is_some_and(|id| id.as_str() == "b-1"),
        "{binding:?}"
    );
    Ok(())
}

async fn supplied(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.fill("a", 1, 5_000).await?;
    let values = bench.values("a").await?;
    ensure!(values.get(&10) == Some(&Some(5_000)), "{values:?}");
    ensure!(values.get(&9) == Some(&Some(90)), "{values:?}");
    ensure!(bench.values("b").await?.get(&10) == Some(&Some(11)));
    bench.foreign.append(rows(30..32)?).await?;
    ensure!(bench.values("a").await?.get(&31) == Some(&Some(310)));
    Ok(())
}
