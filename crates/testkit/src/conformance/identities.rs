//! Claims about identities: they change exactly when the bytes of a column may have.

use anyhow::{Context, ensure};
use lance_backfill_core::identity::{Identity, Place, of_fields, place_of};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_ports::table::Edit;

use super::Claim;
use super::fixture::{Bench, TableFixture, publish, rows, stage, three_fragments};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "an absent column has no place, a published one stands in the staged file",
        check: |fixture| Box::pin(places(fixture)),
    },
    Claim {
        name: "what touches other columns, rows or fragments leaves the identity of a column as it was",
        check: |fixture| Box::pin(untouched(fixture)),
    },
    Claim {
        name: "a patch and a replacement change the identity of the column that they set, and of no other",
        check: |fixture| Box::pin(touched(fixture)),
    },
    Claim {
        name: "rows that moved are under another identity",
        check: |fixture| Box::pin(moved(fixture)),
    },
];

async fn identity(bench: &Bench, fragment: FragmentId, column: &str) -> anyhow::Result<Identity> {
    let version = bench.latest().await?;
    let view = version.view().fragment(fragment).context("no fragment")?;
    let field = version.view().field(column).context("no column")?;
    Ok(of_fields(view, [field]))
}

async fn place(bench: &Bench, fragment: FragmentId, column: &str) -> anyhow::Result<Option<Place>> {
    let version = bench.latest().await?;
    let view = version.view().fragment(fragment).context("no fragment")?;
    let field = version.view().field(column).context("no column")?;
    Ok(place_of(view, &[field]))
}

async fn places(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    ensure!(
        place(&bench, 0, "v").await?.is_none(),
        "absent, with a place"
    );
    for base in [700, 800] {
        let version = bench.latest().await?;
        let file = stage(version.as_ref(), 0, "v", base).await?;
        let _ = publish(version.as_ref(), "v", 0, &file).await?;
        let place = place(&bench, 0, "v").await?.context("no place")?;
        ensure!(place.file.as_ref() == Some(&file.name), "{place:?}");
        let view = bench
            .latest()
            .await?
            .view()
            .fragment(0)
            .cloned()
            .context("gone")?;
        ensure!(view.files.len() == 2, "{view:?}");
    }
    ensure!(
        place(&bench, 1, "v").await?.is_none(),
        "of another fragment"
    );
    let version = bench.latest().await?;
    let file = stage(version.as_ref(), 1, "a", 1).await?;
    let _ = publish(version.as_ref(), "a", 1, &file).await?;
    let place = place(&bench, 1, "a").await?.context("no place")?;
    ensure!(
        place.file == Some(file.name),
        "out of a wider file: {place:?}"
    );
    Ok(())
}

async fn untouched(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = identity(&bench, 1, "a").await?;
    bench.foreign.append(rows(30..33)?).await?;
    bench.foreign.delete(&[12, 3]).await?;
    bench.fill("v", 1, 700).await?;
    bench.fill("v", 1, 900).await?;
    bench.fill("b", 1, 900).await?;
    bench.fill("a", 0, 900).await?;
    bench.foreign.patch(&[15], "v", -1).await?;
    bench.foreign.patch(&[15], "b", -1).await?;
    bench.foreign.patch(&[5], "a", -1).await?;
    bench.foreign.update(&[16, 22], "a", -1).await?;
    bench.foreign.rename("a", "c").await?;
    bench.add_column("w").await?;
    let names = vec!["b".to_owned()];
    bench.edited(&Edit::DropColumns { names }).await?;
    bench.foreign.compact(&[2, 3]).await?;
    ensure!(identity(&bench, 1, "c").await? == before, "it changed");
    Ok(())
}

async fn touched(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.fill("v", 1, 700).await?;
    let all = |bench| async move {
        let mut found = vec![];
        for column in ["id", "a", "b", "v"] {
            found.push(identity(bench, 1, column).await?);
        }
        anyhow::Ok(found)
    };
    let mut before = all(&bench).await?;
    for (place, column) in [(1, "a"), (3, "v"), (2, "b"), (1, "a")] {
        bench.foreign.patch(&[15], column, -7).await?;
        let after = all(&bench).await?;
        let changed: Vec<usize> = (0..4)
            .filter(|at| before.get(*at) != after.get(*at))
            .collect();
        ensure!(
            changed == [place],
            "a patch of {column} changed {changed:?}"
        );
        bench.fill(column, 1, 900).await?;
        let replaced = all(&bench).await?;
        let changed: Vec<usize> = (0..4)
            .filter(|at| after.get(*at) != replaced.get(*at))
            .collect();
        ensure!(
            changed == [place],
            "a replacement of {column} changed {changed:?}"
        );
        before = replaced;
    }
    Ok(())
}

async fn moved(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let mut seen = vec![
        identity(&bench, 0, "a").await?,
        identity(&bench, 1, "a").await?,
    ];
    bench.foreign.update(&[3], "b", -1).await?;
    seen.push(identity(&bench, bench.last_fragment().await?.id, "a").await?);
    bench.foreign.compact(&[0, 1]).await?;
    seen.push(identity(&bench, bench.last_fragment().await?.id, "a").await?);
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    ensure!(distinct.len() == 4, "{seen:?}");
    Ok(())
}
