//! Claims about what is told of versions that others made.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use lance_backfill_core::history::{Change, ChangeKind, Update};
use lance_backfill_core::ids::FieldId;
use lance_backfill_core::rows::RowSet;

use super::Claim;
use super::fixture::{Bench, TableFixture, rows, three_fragments};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "appends, deletes, edits and renames are told as nothing that concerns values",
        check: |fixture| Box::pin(others(fixture)),
    },
    Claim {
        name: "a compaction is told with its old and new fragments",
        check: |fixture| Box::pin(compaction(fixture)),
    },
    Claim {
        name: "an update is told with the fields that it set and the fragments that lost rows",
        check: |fixture| Box::pin(update(fixture)),
    },
    Claim {
        name: "an update of all rows of a fragment is told to have removed it",
        check: |fixture| Box::pin(update_all(fixture)),
    },
    Claim {
        name: "a patch is told with its fields and fragments, and with its rows if they have stable ids",
        check: |fixture| {
            Box::pin(async move {
                patch(fixture, true).await?;
                patch(fixture, false).await
            })
        },
    },
    Claim {
        name: "a replacement by somebody else is told without a binding",
        check: |fixture| Box::pin(replacement(fixture)),
    },
    Claim {
        name: "an old version can be opened and still reads what it did",
        check: |fixture| Box::pin(old_version(fixture)),
    },
    Claim {
        name: "versions that were cleaned up are lost",
        check: |fixture| Box::pin(lost(fixture)),
    },
];

/// What happened since a version.
async fn since(bench: &Bench, version: u64) -> anyhow::Result<Vec<Change>> {
    let newest = bench.latest().await?.view().version;
    let changes = bench.table.changes(version, newest).await?;
    let told: Vec<u64> = changes.iter().map(|change| change.version).collect();
    ensure!(
        told == (version + 1..=newest).collect::<Vec<_>>(),
        "{told:?}"
    );
    Ok(changes)
}

/// The one change since a version that is not of no concern.
async fn only_change(bench: &Bench, version: u64) -> anyhow::Result<ChangeKind> {
    let changes = since(bench, version).await?;
    let mut kinds = changes
        .into_iter()
        .map(|change| change.kind)
        .filter(|kind| *kind != ChangeKind::Other);
    let kind = kinds.next().context("nothing is told")?;
    ensure!(kinds.next().is_none(), "more than one change is told");
    Ok(kind)
}

async fn newest(bench: &Bench) -> anyhow::Result<u64> {
    Ok(bench.latest().await?.view().version)
}

async fn field_id(bench: &Bench, name: &str) -> anyhow::Result<FieldId> {
    Ok(bench.field(name).await?.id)
}

async fn others(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = newest(&bench).await?;
    bench.foreign.append(rows(30..33)?).await?;
    bench.foreign.delete(&[1]).await?;
    bench.foreign.delete(&(20..30).collect::<Vec<_>>()).await?;
    bench.foreign.rename("b", "c").await?;
    bench.add_column("w").await?;
    let changes = since(&bench, before).await?;
    ensure!(changes.len() == 5, "{changes:?}");
    let all_other = changes
        .iter()
        .all(|change| change.kind == ChangeKind::Other);
    ensure!(all_other, "{changes:?}");
    ensure!(bench.table.changes(before, before).await?.is_empty());
    Ok(())
}

async fn compaction(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.foreign.delete(&[3]).await?;
    let before = newest(&bench).await?;
    bench.foreign.compact(&[0, 1]).await?;
    let kind = only_change(&bench, before).await?;
    let ChangeKind::Rewrite { groups } = &kind else {
        anyhow::bail!("{kind:?}");
    };
    let [(old, new)] = groups.as_slice() else {
        anyhow::bail!("{groups:?}");
    };
    ensure!(old == &[0, 1] && new.len() == 1, "{groups:?}");
    let last = bench.last_fragment().await?;
    ensure!(
        new.first() == Some(&last.id) && last.physical_rows == 19,
        "{last:?}"
    );
    Ok(())
}

async fn told_update(bench: &Bench, version: u64) -> anyhow::Result<Update> {
    match only_change(bench, version).await? {
        ChangeKind::Update(update) => Ok(update),
        other => anyhow::bail!("{other:?}"),
    }
}

async fn update(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = newest(&bench).await?;
    bench.foreign.update(&[3, 25], "a", -1).await?;
    let update = told_update(&bench, before).await?;
    ensure!(!update.in_place, "{update:?}");
    let fields = Some(vec![field_id(&bench, "a").await?]);
    ensure!(update.fields == fields, "{update:?}");
    let mut touched = update.touched.clone();
    touched.sort_unstable();
    ensure!(touched == [0, 2] && update.removed.is_empty(), "{update:?}");
    let last = bench.last_fragment().await?;
    ensure!(last.id == 3 && last.physical_rows == 2, "{last:?}");
    let values = bench.values("a").await?;
    ensure!(values.get(&3) == Some(&Some(-1)) && values.get(&4) == Some(&Some(40)));
    Ok(())
}

async fn update_all(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = newest(&bench).await?;
    bench
        .foreign
        .update(&(10..20).collect::<Vec<_>>(), "a", -1)
        .await?;
    let update = told_update(&bench, before).await?;
    ensure!(
        update.touched.is_empty() && update.removed == [1],
        "{update:?}"
    );
    Ok(())
}

async fn patch(fixture: &dyn TableFixture, stable_row_ids: bool) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, stable_row_ids).await?;
    bench.foreign.delete(&[10, 11]).await?;
    for column in ["a", "v"] {
        let before = newest(&bench).await?;
        bench.foreign.patch(&[13, 14, 29], column, -1).await?;
        let update = told_update(&bench, before).await?;
        ensure!(update.in_place && update.removed.is_empty(), "{update:?}");
        let fields = Some(vec![field_id(&bench, column).await?]);
        ensure!(update.fields == fields, "{column}: {update:?}");
        let mut touched = update.touched.clone();
        touched.sort_unstable();
        ensure!(touched == [1, 2], "{update:?}");
        let offsets = match stable_row_ids {
            true => [(1, RowSet::from_iter([3, 4])), (2, RowSet::from_iter([9]))].into(),
            false => BTreeMap::new(),
        };
        ensure!(update.offsets == offsets, "{update:?}");
    }
    let values = bench.values("a").await?;
    ensure!(values.get(&13) == Some(&Some(-1)) && values.get(&15) == Some(&Some(150)));
    let values = bench.values("v").await?;
    ensure!(values.get(&13) == Some(&Some(-1)) && values.get(&15) == Some(&None));
    ensure!(
        bench.latest().await?.view().fragments.len() == 3,
        "rows moved"
    );
    Ok(())
}

async fn replacement(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = newest(&bench).await?;
    bench.fill("a", 1, 3_000).await?;
    let kind = only_change(&bench, before).await?;
    let ChangeKind::Replacement {
        fragments,
        fields,
        binding,
    } = &kind
    else {
        anyhow::bail!("{kind:?}");
    };
    ensure!(fragments == &[1] && binding.is_none(), "{kind:?}");
    ensure!(fields == &[field_id(&bench, "a").await?], "{kind:?}");
    Ok(())
}

async fn old_version(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = newest(&bench).await?;
    bench.foreign.update(&[3], "a", -1).await?;
    bench.foreign.compact(&[0, 1]).await?;
    let old = bench
        .table
        .at(before)
        .await?
        .context("the version is gone")?;
    ensure!(old.view().version == before && old.view().fragments.len() == 3);
    let values = super::fixture::read(old.as_ref(), 0, "a", &RowSet::range(3..4)).await?;
    ensure!(values == [Some(30)], "{values:?}");
    let now = newest(&bench).await?;
    ensure!(bench.table.at(now).await?.is_some(), "the newest is gone");
    ensure!(
        bench.table.at(now + 1).await?.is_none(),
        "one to come is there"
    );
    Ok(())
}

async fn lost(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = newest(&bench).await?;
    bench.foreign.append(rows(30..33)?).await?;
    bench.foreign.update(&[3], "a", -1).await?;
    let staged_on = bench.latest().await?;
    let staged = super::fixture::stage(staged_on.as_ref(), 1, "v", 700).await?;
    bench.foreign.clean_up().await?;
    let changes = since(&bench, before).await?;
    let first = changes.first().context("nothing is told")?;
    ensure!(first.kind == ChangeKind::Lost, "{changes:?}");
    ensure!(bench.table.at(before).await?.is_none(), "it can be opened");
    ensure!(
        bench.table.at(before + 1).await?.is_none(),
        "it can be opened"
    );
    let values = bench.values("a").await?;
    ensure!(
        values.len() == 33 && values.get(&3) == Some(&Some(-1)),
        "{values:?}"
    );
    let fresh = bench.latest().await?;
    ensure!(fresh.staged_exists(&staged).await?, "a staged file is gone");
    Ok(())
}
