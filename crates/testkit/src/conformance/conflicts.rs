//! The conflict matrix: what happens to files that are published on a version that is not the newest.

use anyhow::ensure;
use futures::future::BoxFuture;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_ports::table::{Edit, PublishOutcome};

use super::Claim;
use super::fixture::{Bench, TableFixture, publish, rows, stage, three_fragments};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "an append does not keep a file from landing",
        check: |fixture| Box::pin(lands(fixture, |bench| Box::pin(append(bench)))),
    },
    Claim {
        name: "a delete of rows of the fragment does not keep a file from landing, and they stay deleted",
        check: |fixture| Box::pin(delete_lands(fixture)),
    },
    Claim {
        name: "a delete of the whole fragment conflicts",
        check: |fixture| Box::pin(conflicts(fixture, |bench| Box::pin(delete_all(bench)))),
    },
    Claim {
        name: "an update that moves rows of the fragment conflicts",
        check: |fixture| Box::pin(conflicts(fixture, |bench| Box::pin(update(bench, 1)))),
    },
    Claim {
        name: "an update that moves all rows of the fragment conflicts",
        check: |fixture| Box::pin(conflicts(fixture, |bench| Box::pin(update_all(bench)))),
    },
    Claim {
        name: "an update that moves rows of another fragment does not keep a file from landing",
        check: |fixture| Box::pin(lands(fixture, |bench| Box::pin(update(bench, 0)))),
    },
    Claim {
        name: "a patch of an input column does not keep a file from landing",
        check: |fixture| Box::pin(lands(fixture, |bench| Box::pin(patch(bench, "a", 14)))),
    },
    Claim {
        name: "a patch of the same column of the fragment conflicts",
        check: |fixture| Box::pin(conflicts(fixture, |bench| Box::pin(patch(bench, "v", 14)))),
    },
    Claim {
        name: "a patch of the same column of another fragment does not keep a file from landing",
        check: |fixture| Box::pin(lands(fixture, |bench| Box::pin(patch(bench, "v", 24)))),
    },
    Claim {
        name: "a replacement of the same column of the fragment conflicts",
        check: |fixture| Box::pin(conflicts(fixture, |bench| Box::pin(replace(bench, "v", 1)))),
    },
    Claim {
        name: "a replacement of the same column of another fragment does not keep a file from landing",
        check: |fixture| Box::pin(lands(fixture, |bench| Box::pin(replace(bench, "v", 2)))),
    },
    Claim {
        name: "a replacement of an input column does not keep a file from landing",
        check: |fixture| Box::pin(lands(fixture, |bench| Box::pin(replace(bench, "a", 1)))),
    },
    Claim {
        name: "a compaction of the fragment conflicts",
        check: |fixture| {
            Box::pin(conflicts(fixture, |bench| {
                Box::pin(compact(bench, &[0, 1]))
            }))
        },
    },
    Claim {
        name: "a compaction of other fragments does not keep a file from landing",
        check: |fixture| Box::pin(compaction_elsewhere(fixture)),
    },
    Claim {
        name: "an added column conflicts",
        check: |fixture| Box::pin(conflicts(fixture, |bench| Box::pin(bench.add_column("w")))),
    },
    Claim {
        name: "a drop of the column conflicts",
        check: |fixture| {
            Box::pin(conflicts(fixture, |bench| {
                Box::pin(drop_column(bench, "v"))
            }))
        },
    },
    Claim {
        name: "a drop of another column does not keep a file from landing",
        check: |fixture| Box::pin(lands(fixture, |bench| Box::pin(drop_column(bench, "b")))),
    },
    Claim {
        name: "a rename of the column does not keep a file from landing",
        check: |fixture| Box::pin(rename_lands(fixture)),
    },
    Claim {
        name: "changes of metadata do not keep a file from landing",
        check: |fixture| Box::pin(lands(fixture, |bench| Box::pin(metadata(bench)))),
    },
    Claim {
        name: "a file is published once",
        check: |fixture| Box::pin(once(fixture)),
    },
    Claim {
        name: "after a conflict a fresh version takes the very same file",
        check: |fixture| Box::pin(second_try(fixture)),
    },
    Claim {
        name: "one conflict keeps all files of a publication from landing",
        check: |fixture| Box::pin(all_or_nothing(fixture)),
    },
];

type Other = for<'a> fn(&'a Bench) -> BoxFuture<'a, anyhow::Result<()>>;

/// Stages column `v` of fragment 1, lets somebody else write, and publishes on the old version.
async fn race(fixture: &dyn TableFixture, other: Other) -> anyhow::Result<(Bench, PublishOutcome)> {
    let bench = three_fragments(fixture, false).await?;
    let version = bench.latest().await?;
    let file = stage(version.as_ref(), 1, "v", 700).await?;
    other(&bench).await?;
    let outcome = publish(version.as_ref(), "v", 1, &file).await?;
    Ok((bench, outcome))
}

async fn lands(fixture: &dyn TableFixture, other: Other) -> anyhow::Result<()> {
    let (bench, outcome) = race(fixture, other).await?;
    let newest = bench.latest().await?.view().version;
    ensure!(
        outcome == PublishOutcome::Published { version: newest },
        "{outcome:?}"
    );
    let values = bench.values("v").await?;
    for id in 10..20 {
        ensure!(values.get(&id) == Some(&Some(690 + id)), "{values:?}");
    }
    Ok(())
}

async fn conflicts(fixture: &dyn TableFixture, other: Other) -> anyhow::Result<()> {
    let (bench, outcome) = race(fixture, other).await?;
    ensure!(
        matches!(outcome, PublishOutcome::Conflict { .. }),
        "{outcome:?}"
    );
    if bench.latest().await?.view().field("v").is_some() {
        let values = bench.values("v").await?;
        let landed = values
            .values()
            .flatten()
            .any(|value| (700..710).contains(value));
        ensure!(!landed, "it landed all the same: {values:?}");
    }
    Ok(())
}

async fn append(bench: &Bench) -> anyhow::Result<()> {
    bench.foreign.append(rows(30..35)?).await
}

async fn delete_all(bench: &Bench) -> anyhow::Result<()> {
    let ids: Vec<i64> = (10..20).collect();
    bench.foreign.delete(&ids).await
}

async fn update(bench: &Bench, fragment: i64) -> anyhow::Result<()> {
    bench.foreign.update(&[fragment * 10 + 3], "a", -1).await
}

async fn update_all(bench: &Bench) -> anyhow::Result<()> {
    let ids: Vec<i64> = (10..20).collect();
    bench.foreign.update(&ids, "a", -1).await
}

async fn patch(bench: &Bench, column: &str, id: i64) -> anyhow::Result<()> {
    bench.foreign.patch(&[id], column, -1).await
}

async fn replace(bench: &Bench, column: &str, fragment: FragmentId) -> anyhow::Result<()> {
    bench.fill(column, fragment, 4_000).await.map(drop)
}

async fn compact(bench: &Bench, fragments: &[FragmentId]) -> anyhow::Result<()> {
    bench.foreign.compact(fragments).await
}

async fn drop_column(bench: &Bench, name: &str) -> anyhow::Result<()> {
    let names = vec![name.to_owned()];
    bench.edited(&Edit::DropColumns { names }).await.map(drop)
}

async fn metadata(bench: &Bench) -> anyhow::Result<()> {
    let entries = [("k".to_owned(), Some("1".to_owned()))];
    let table = Edit::TableMetadata {
        entries: entries.clone().into(),
        expected: [("k".to_owned(), None)].into(),
    };
    bench.edited(&table).await?;
    let field = Edit::FieldMetadata {
        names: vec!["v".to_owned()],
        entries: entries.into(),
    };
    bench.edited(&field).await.map(drop)
}

async fn delete_lands(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let delete: Other = |bench| Box::pin(bench.foreign.delete(&[12, 13]));
    let (bench, outcome) = race(fixture, delete).await?;
    ensure!(
        matches!(outcome, PublishOutcome::Published { .. }),
        "{outcome:?}"
    );
    let values = bench.values("v").await?;
    ensure!(!values.contains_key(&12), "{values:?}");
    ensure!(values.get(&14) == Some(&Some(704)), "{values:?}");
    Ok(())
}

async fn compaction_elsewhere(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let version = bench.latest().await?;
    let file = stage(version.as_ref(), 0, "v", 700).await?;
    compact(&bench, &[1, 2]).await?;
    let outcome = publish(version.as_ref(), "v", 0, &file).await?;
    ensure!(
        matches!(outcome, PublishOutcome::Published { .. }),
        "{outcome:?}"
    );
    let values = bench.values("v").await?;
    ensure!(values.get(&3) == Some(&Some(703)) && values.get(&13) == Some(&None));
    Ok(())
}

async fn rename_lands(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let rename: Other = |bench| Box::pin(bench.foreign.rename("v", "renamed"));
    let (bench, outcome) = race(fixture, rename).await?;
    ensure!(
        matches!(outcome, PublishOutcome::Published { .. }),
        "{outcome:?}"
    );
    let values = bench.values("renamed").await?;
    ensure!(values.get(&14) == Some(&Some(704)), "{values:?}");
    Ok(())
}

async fn once(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let stale = bench.latest().await?;
    let file = stage(stale.as_ref(), 1, "v", 700).await?;
    let first = publish(stale.as_ref(), "v", 1, &file).await?;
    ensure!(
        matches!(first, PublishOutcome::Published { .. }),
        "{first:?}"
    );
    for version in [stale, bench.latest().await?] {
        let again = publish(version.as_ref(), "v", 1, &file).await?;
        ensure!(
            matches!(again, PublishOutcome::Conflict { .. }),
            "{again:?}"
        );
    }
    Ok(())
}

async fn second_try(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let stale = bench.latest().await?;
    let file = stage(stale.as_ref(), 1, "v", 700).await?;
    update(&bench, 1).await?;
    let first = publish(stale.as_ref(), "v", 1, &file).await?;
    ensure!(
        matches!(first, PublishOutcome::Conflict { .. }),
        "{first:?}"
    );
    let fresh = bench.latest().await?;
    ensure!(fresh.staged_exists(&file).await?, "the file is gone");
    let second = publish(fresh.as_ref(), "v", 1, &file).await?;
    ensure!(
        matches!(second, PublishOutcome::Published { .. }),
        "{second:?}"
    );
    let values = bench.values("v").await?;
    ensure!(values.get(&14) == Some(&Some(704)), "{values:?}");
    ensure!(values.get(&13) == Some(&None), "the moved row: {values:?}");
    Ok(())
}

async fn all_or_nothing(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let version = bench.latest().await?;
    let files = [
        (0, stage(version.as_ref(), 0, "v", 700).await?),
        (1, stage(version.as_ref(), 1, "v", 800).await?),
    ];
    bench.fill("v", 1, 4_000).await?;
    let outcome = version
        .publish(&["v".to_owned()], &files, &Default::default())
        .await?;
    ensure!(
        matches!(outcome, PublishOutcome::Conflict { .. }),
        "{outcome:?}"
    );
    let values = bench.values("v").await?;
    ensure!(values.get(&0) == Some(&None) && values.get(&10) == Some(&Some(4_000)));
    Ok(())
}
