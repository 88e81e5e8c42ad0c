//! Claims about where rows go, and about their ids.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use lance_backfill_core::history::concatenation;
use lance_backfill_core::rows::RowSet;

use super::Claim;
use super::fixture::{Bench, TableFixture, read, rows, three_fragments};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "a compaction concatenates live rows in order",
        check: |fixture| Box::pin(concatenates(fixture)),
    },
    Claim {
        name: "after a compaction all columns stand in one file, absent ones as explicit nulls",
        check: |fixture| Box::pin(one_file(fixture)),
    },
    Claim {
        name: "rows keep their stable ids through compaction and update",
        check: |fixture| Box::pin(stable_ids(fixture)),
    },
    Claim {
        name: "an updated row takes its other values along, computed ones included",
        check: |fixture| Box::pin(values_go_along(fixture)),
    },
    Claim {
        name: "fragment ids are never used again",
        check: |fixture| Box::pin(fresh_fragments(fixture)),
    },
];

async fn concatenates(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.fill("v", 1, 700).await?;
    bench.foreign.delete(&[0, 5, 12]).await?;
    let before = bench.latest().await?;
    bench.foreign.compact(&[0, 1]).await?;
    let after = bench.latest().await?;
    let new = bench.last_fragment().await?;
    let mut old = vec![];
    for fragment in [0, 1] {
        let deleted = before.deleted_rows(fragment).await?;
        old.push((fragment, RowSet::full(10).difference(&deleted)));
    }
    let moves = concatenation(&old, &[(new.id, new.physical_rows)]);
    let moves = moves.context("the rows do not add up")?;
    for column in ["id", "a", "v"] {
        let is = read(
            after.as_ref(),
            new.id,
            column,
            &RowSet::full(new.physical_rows),
        )
        .await?;
        for ((fragment, _), stretches) in &moves {
            let was = read(before.as_ref(), *fragment, column, &RowSet::full(10)).await?;
            for stretch in stretches {
                let old_rows = was.iter().skip(usize::try_from(stretch.old)?);
                let new_rows = is.iter().skip(usize::try_from(stretch.new)?);
                let rows = usize::try_from(stretch.rows)?;
                ensure!(
                    old_rows.take(rows).eq(new_rows.take(rows)),
                    "{column}: {is:?}"
                );
            }
        }
    }
    Ok(())
}

async fn one_file(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.fill("a", 0, 3_000).await?;
    bench.foreign.compact(&[0, 1]).await?;
    let new = bench.last_fragment().await?;
    let field = bench.field("v").await?;
    let [file] = new.files.as_slice() else {
        anyhow::bail!("{new:?}");
    };
    ensure!(file.fields.contains(&field.id), "{file:?}");
    let values = bench.values("v").await?;
    ensure!(values.values().all(Option::is_none), "{values:?}");
    ensure!(bench.values("a").await?.get(&1) == Some(&Some(3_001)));
    Ok(())
}

/// Stable row ids of live rows, by the values of their `id`.
async fn ids_of_rows(bench: &Bench) -> anyhow::Result<BTreeMap<i64, u64>> {
    let version = bench.latest().await?;
    let mut found = BTreeMap::new();
    for fragment in &version.view().fragments {
        let ids = version.row_ids(fragment.id).await?.context("no row ids")?;
        let all = RowSet::full(fragment.physical_rows);
        ensure!(ids.len() as u64 == all.len(), "{} row ids", ids.len());
        let keys = read(version.as_ref(), fragment.id, "id", &all).await?;
        let deleted = version.deleted_rows(fragment.id).await?;
        for ((offset, key), row_id) in (0_u32..).zip(keys).zip(ids) {
            if !deleted.contains(offset) {
                found.insert(key.context("a row without id")?, row_id);
            }
        }
    }
    Ok(found)
}

async fn stable_ids(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, true).await?;
    let before = ids_of_rows(&bench).await?;
    bench.foreign.update(&[4, 17, 18], "a", -1).await?;
    ensure!(
        ids_of_rows(&bench).await? == before,
        "the update gave other ids"
    );
    bench.foreign.delete(&[5]).await?;
    bench.foreign.compact(&[0, 1]).await?;
    let mut expected = before.clone();
    expected.remove(&5);
    ensure!(ids_of_rows(&bench).await? == expected, "the compaction did");
    bench.foreign.patch(&[6], "a", -2).await?;
    ensure!(ids_of_rows(&bench).await? == expected, "the patch did");
    bench.foreign.append(rows(30..33)?).await?;
    let after = ids_of_rows(&bench).await?;
    let distinct: std::collections::BTreeSet<_> = after.values().collect();
    ensure!(
        distinct.len() == after.len(),
        "two rows have one id: {after:?}"
    );
    let fresh = after.get(&30).context("row 30")?;
    ensure!(
        !before.values().any(|id| id == fresh),
        "an id was used again"
    );
    Ok(())
}

async fn values_go_along(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.fill("v", 0, 700).await?;
    bench.foreign.update(&[3, 14], "a", -1).await?;
    let values = bench.values("v").await?;
    ensure!(values.get(&3) == Some(&Some(703)), "{values:?}");
    ensure!(values.get(&14) == Some(&None), "{values:?}");
    let ids = {
        let new = bench.last_fragment().await?;
        let version = bench.latest().await?;
        read(version.as_ref(), new.id, "id", &RowSet::full(2)).await?
    };
    ensure!(ids == [Some(3), Some(14)], "moved rows lie as {ids:?}");
    Ok(())
}

async fn fresh_fragments(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.foreign.delete(&(20..30).collect::<Vec<_>>()).await?;
    bench.foreign.append(rows(30..33)?).await?;
    let last = bench.last_fragment().await?;
    ensure!(last.id == 3, "{last:?}");
    Ok(())
}
