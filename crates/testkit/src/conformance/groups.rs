//! Claims about columns that stand in one file and are published together.

use anyhow::{Context, ensure};
use arrow_array::RecordBatch;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use lance_backfill_core::history::ChangeKind;
use lance_backfill_core::identity::{Place, place_of};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::table::{Edit, PublishOutcome};

use super::Claim;
use super::fixture::{
    Bench, TableFixture, id_and, new_column, publish_group, read, stage, stage_group,
    three_fragments, values_of,
};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "columns are added, marked and dropped together, in one version each",
        check: |fixture| Box::pin(edited_together(fixture)),
    },
    Claim {
        name: "a file of several columns lands at once, and each column has its own values",
        check: |fixture| Box::pin(lands_at_once(fixture)),
    },
    Claim {
        name: "of a staged file of several columns any can be read, in any order",
        check: |fixture| Box::pin(read_staged(fixture)),
    },
    Claim {
        name: "several columns stand in one file until somebody writes one of them",
        check: |fixture| Box::pin(one_file(fixture)),
    },
    Claim {
        name: "several columns are replaced together, also after a compaction",
        check: |fixture| Box::pin(after_compaction(fixture)),
    },
    Claim {
        name: "several columns land where only some of them have values",
        check: |fixture| Box::pin(partly_there(fixture)),
    },
    Claim {
        name: "a replacement of one of several columns conflicts",
        check: |fixture| {
            Box::pin(conflicts(fixture, |bench| {
                Box::pin(async { bench.fill("w", 1, 4_000).await.map(drop) })
            }))
        },
    },
    Claim {
        name: "a patch of one of several columns conflicts",
        check: |fixture| {
            Box::pin(conflicts(fixture, |bench| {
                Box::pin(bench.foreign.patch(&[14], "w", -1))
            }))
        },
    },
    Claim {
        name: "a drop of one of several columns conflicts",
        check: |fixture| {
            Box::pin(conflicts(fixture, |bench| {
                let names = vec!["w".to_owned()];
                Box::pin(async { bench.edited(&Edit::DropColumns { names }).await.map(drop) })
            }))
        },
    },
];

const BOTH: [&str; 2] = ["w", "v"];

/// A table of three fragments with the added columns `v` and `w`; both have values in the first one.
async fn two_columns(fixture: &dyn TableFixture) -> anyhow::Result<Bench> {
    let bench = three_fragments(fixture, false).await?;
    bench.add_column("w").await?;
    fill(&bench, 0, 500).await?;
    Ok(bench)
}

/// Publishes `w` from `base` on and `v` from `base` + 1,000 on.
async fn fill(bench: &Bench, fragment: FragmentId, base: i64) -> anyhow::Result<u64> {
    let version = bench.latest().await?;
    let columns = [("w", base), ("v", base + 1_000)];
    let file = stage_group(version.as_ref(), fragment, &columns).await?;
    match publish_group(version.as_ref(), &BOTH, fragment, &file).await? {
        PublishOutcome::Published { version } => Ok(version),
        other => anyhow::bail!("publishing on the newest version: {other:?}"),
    }
}

/// Both columns of the row with this id.
async fn row(bench: &Bench, id: i64) -> anyhow::Result<(Option<i64>, Option<i64>)> {
    let (w, v) = (bench.values("w").await?, bench.values("v").await?);
    let of = |values: &std::collections::BTreeMap<i64, Option<i64>>| values.get(&id).copied();
    Ok((of(&w).context("no row")?, of(&v).context("no row")?))
}

async fn place(bench: &Bench, fragment: FragmentId) -> anyhow::Result<Option<Place>> {
    let version = bench.latest().await?;
    let view = version.view().fragment(fragment).context("no fragment")?;
    let fields = [bench.field("w").await?, bench.field("v").await?];
    Ok(place_of(view, &fields.iter().collect::<Vec<_>>()))
}

async fn edited_together(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = bench.latest().await?.view().version;
    let columns = vec![new_column("x"), new_column("y")];
    bench.edited(&Edit::AddColumns { columns }).await?;
    let added = bench.latest().await?;
    let names: Vec<&str> = (added.view().fields.iter())
        .map(|field| field.name.as_str())
        .collect();
    ensure!(names.ends_with(&["x", "y"]), "{names:?}");
    let names = vec!["x".to_owned(), "y".to_owned()];
    let entries = [("k".to_owned(), Some("1".to_owned()))].into();
    let mark = Edit::FieldMetadata {
        names: names.clone(),
        entries,
    };
    bench.edited(&mark).await?;
    for name in &names {
        let metadata = bench.field(name).await?.metadata;
        ensure!(
            metadata.get("k").is_some_and(|value| value == "1") && metadata.len() == 2,
            "{metadata:?}"
        );
    }
    bench.edited(&Edit::DropColumns { names }).await?;
    let view = bench.latest().await?;
    let view = view.view();
    ensure!(view.field("x").is_none() && view.field("y").is_none() && view.field("v").is_some());
    ensure!(view.version == before + 3, "{}", view.version);
    Ok(())
}

async fn lands_at_once(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = two_columns(fixture).await?;
    bench.foreign.delete(&[12]).await?;
    let before = bench.latest().await?;
    let file = stage_group(before.as_ref(), 1, &[("w", 700), ("v", 800)]).await?;
    ensure!(row(&bench, 13).await? == (None, None), "before publication");
    ensure!(before.staged_exists(&file).await?, "just staged");
    let outcome = publish_group(before.as_ref(), &BOTH, 1, &file).await?;
    let version = before.view().version + 1;
    ensure!(
        outcome == PublishOutcome::Published { version },
        "{outcome:?}"
    );
    ensure!(row(&bench, 13).await? == (Some(703), Some(803)));
    ensure!(row(&bench, 3).await? == (Some(503), Some(1_503)));
    ensure!(row(&bench, 23).await? == (None, None));
    ensure!(!bench.values("v").await?.contains_key(&12));
    let changes = bench.table.changes(version - 1, version).await?;
    let kind = changes.first().map(|change| &change.kind);
    let Some(ChangeKind::Replacement { fields, .. }) = kind else {
        anyhow::bail!("{kind:?}");
    };
    let ours = [bench.field("w").await?.id, bench.field("v").await?.id];
    ensure!(ours.iter().all(|id| fields.contains(id)), "{fields:?}");
    ensure!(fields.iter().all(|id| ours.contains(id)), "{fields:?}");
    Ok(())
}

async fn read_staged(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = two_columns(fixture).await?;
    let version = bench.latest().await?;
    let file = stage_group(version.as_ref(), 1, &[("w", 700), ("v", 800)]).await?;
    bench.foreign.compact(&[0, 1]).await?;
    let rows = RowSet::from_iter([0, 9]);
    for columns in [&["v", "w"][..], &["w", "v"], &["v"]] {
        let names: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let newest = bench.latest().await?;
        let batches = newest.read_staged(&names, &file, &rows, 2).await?;
        let batches: Vec<RecordBatch> = batches.try_collect().await?;
        for (place, name) in names.iter().enumerate() {
            let base = if name == "v" { 800 } else { 700 };
            let found = values_of(&batches, name)?;
            ensure!(found == [Some(base), Some(base + 9)], "{name}: {found:?}");
            let there = batches.iter().all(|batch| {
                (batch.schema().fields().get(place)).is_some_and(|field| field.name() == name)
            });
            ensure!(there, "{name} is not column {place}");
        }
    }
    Ok(())
}

async fn one_file(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = two_columns(fixture).await?;
    ensure!(place(&bench, 1).await?.is_none(), "without values");
    fill(&bench, 1, 700).await?;
    let filled = place(&bench, 1).await?.context("no place")?;
    ensure!(filled.file.is_some(), "{filled:?}");
    bench.fill("a", 1, 5_000).await?;
    ensure!(place(&bench, 1).await?.as_ref() == Some(&filled), "changed");
    bench.fill("v", 1, 4_000).await?;
    ensure!(row(&bench, 13).await? == (Some(703), Some(4_003)));
    let written = place(&bench, 1).await?.context("no place")?;
    ensure!(
        written.file.is_none() && written.identity != filled.identity,
        "{written:?}"
    );
    fill(&bench, 1, 900).await?;
    ensure!(row(&bench, 13).await? == (Some(903), Some(1_903)));
    let again = place(&bench, 1).await?.context("no place")?;
    ensure!(again.file.is_some() && again != filled, "{again:?}");
    Ok(())
}

async fn after_compaction(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = two_columns(fixture).await?;
    bench.foreign.compact(&[0, 1]).await?;
    let made = bench.last_fragment().await?.id;
    ensure!(row(&bench, 3).await? == (Some(503), Some(1_503)));
    fill(&bench, made, 900).await?;
    let version = bench.latest().await?;
    let found = read(version.as_ref(), made, "v", &RowSet::from_iter([0, 19])).await?;
    ensure!(found == [Some(1_900), Some(1_919)], "{found:?}");
    ensure!(bench.values("a").await?.get(&3) == Some(&Some(30)));
    Ok(())
}

async fn partly_there(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = two_columns(fixture).await?;
    // Only one of both came in with the rows, or was written since.
    bench.foreign.append(id_and(&[40, 41], "v", 7)?).await?;
    bench.fill("w", 2, 4_000).await?;
    let appended = bench.last_fragment().await?.id;
    let version = bench.latest().await?;
    let columns = [("w", 700), ("v", 800)];
    let mut files = vec![];
    for fragment in [1, 2, appended] {
        let file = stage_group(version.as_ref(), fragment, &columns).await?;
        files.push((fragment, file));
    }
    let names = BOTH.map(str::to_owned);
    let outcome = version.publish(&names, &files, &Default::default()).await?;
    let newest = bench.latest().await?.view().version;
    ensure!(
        outcome == PublishOutcome::Published { version: newest },
        "{outcome:?}"
    );
    for id in [13, 23] {
        ensure!(row(&bench, id).await? == (Some(703), Some(803)), "{id}");
    }
    ensure!(row(&bench, 41).await? == (Some(701), Some(801)));
    for fragment in [1, 2, appended] {
        let place = place(&bench, fragment).await?.context("no place")?;
        ensure!(place.file.is_some(), "{fragment}: {place:?}");
    }
    // And still nobody's write is overwritten.
    bench.foreign.append(id_and(&[50], "v", 7)?).await?;
    let appended = bench.last_fragment().await?.id;
    let version = bench.latest().await?;
    let file = stage_group(version.as_ref(), appended, &columns).await?;
    bench.foreign.patch(&[50], "v", -1).await?;
    let outcome = publish_group(version.as_ref(), &BOTH, appended, &file).await?;
    ensure!(
        matches!(outcome, PublishOutcome::Conflict { .. }),
        "{outcome:?}"
    );
    ensure!(row(&bench, 50).await? == (None, Some(-1)));
    Ok(())
}

type Other = for<'a> fn(&'a Bench) -> BoxFuture<'a, anyhow::Result<()>>;

async fn conflicts(fixture: &dyn TableFixture, other: Other) -> anyhow::Result<()> {
    let bench = two_columns(fixture).await?;
    let version = bench.latest().await?;
    let file = stage_group(version.as_ref(), 1, &[("w", 700), ("v", 800)]).await?;
    // Of another fragment: it takes the file as it is.
    let untouched = stage(version.as_ref(), 2, "a", 100).await?;
    other(&bench).await?;
    let outcome = publish_group(version.as_ref(), &BOTH, 1, &file).await?;
    ensure!(
        matches!(outcome, PublishOutcome::Conflict { .. }),
        "{outcome:?}"
    );
    let values = bench.values("v").await?;
    ensure!(values.get(&13) == Some(&None), "it landed: {values:?}");
    let outcome = publish_group(version.as_ref(), &["a"], 2, &untouched).await?;
    ensure!(
        matches!(outcome, PublishOutcome::Published { .. }),
        "{outcome:?}"
    );
    Ok(())
}
