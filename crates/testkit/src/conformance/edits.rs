//! Claims about changes of schema and metadata.

use std::collections::BTreeMap;

use anyhow::ensure;
use arrow_schema::DataType;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::table::{Edit, EditOutcome, NewColumn};

use super::Claim;
use super::fixture::{TableFixture, new_column, read, three_fragments};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "an added column is nullable, empty, and has its metadata in the same version",
        check: |fixture| Box::pin(added_column(fixture)),
    },
    Claim {
        name: "a column that is there is not added, and one that is not there is not dropped",
        check: |fixture| Box::pin(contradictions(fixture)),
    },
    Claim {
        name: "table metadata change only from the expected values",
        check: |fixture| Box::pin(compare_and_set(fixture)),
    },
    Claim {
        name: "field metadata are set and removed one by one",
        check: |fixture| Box::pin(field_metadata(fixture)),
    },
    Claim {
        name: "a column added after a drop is another one",
        check: |fixture| Box::pin(drop_and_add(fixture)),
    },
    Claim {
        name: "a renamed column keeps its id, metadata and values",
        check: |fixture| Box::pin(rename(fixture)),
    },
];

fn map<V: Clone>(entries: &[(&str, V)]) -> BTreeMap<String, V> {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

async fn added_column(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = bench.latest().await?.view().version;
    let column = NewColumn {
        name: "w".to_owned(),
        data_type: DataType::Utf8,
        metadata: map(&[("backfill.binding", "b-1".to_owned())]),
    };
    let edit = Edit::AddColumns {
        columns: vec![column],
    };
    let made = bench.edited(&edit).await?;
    let version = bench.latest().await?;
    ensure!(
        version.view().version == made && made == before + 1,
        "{made}"
    );
    let field = bench.field("w").await?;
    ensure!(field.nullable && field.data_type == "string", "{field:?}");
    let binding = field.metadata.get("backfill.binding");
    ensure!(binding.is_some_and(|binding| binding == "b-1"), "{field:?}");
    let named = |fragment: &lance_backfill_core::table::FragmentView| {
        fragment
            .files
            .iter()
            .any(|file| file.fields.contains(&field.id))
    };
    ensure!(
        !version.view().fragments.iter().any(named),
        "a file holds it"
    );
    Ok(())
}

async fn contradictions(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let before = bench.latest().await?.view().version;
    let edits = [
        Edit::AddColumns {
            columns: vec![new_column("x"), new_column("a")],
        },
        Edit::DropColumns {
            names: vec!["v".to_owned(), "nothing".to_owned()],
        },
        Edit::FieldMetadata {
            names: vec!["v".to_owned(), "nothing".to_owned()],
            entries: map(&[("k", some("1"))]),
        },
    ];
    for edit in edits {
        let outcome = bench.table.edit(&edit).await?;
        ensure!(
            matches!(outcome, EditOutcome::Conflict { .. }),
            "{edit:?}: {outcome:?}"
        );
    }
    ensure!(
        bench.latest().await?.view().version == before,
        "a new version"
    );
    Ok(())
}

async fn compare_and_set(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let set = |from: Option<String>, to: Option<String>| Edit::TableMetadata {
        entries: map(&[("k", to)]),
        expected: map(&[("k", from)]),
    };
    bench.edited(&set(None, some("1"))).await?;
    let late = bench.table.edit(&set(None, some("2"))).await?;
    ensure!(matches!(late, EditOutcome::Conflict { .. }), "{late:?}");
    let value = bench.latest().await?.view().metadata.get("k").cloned();
    ensure!(value == some("1"), "{value:?}");
    bench.edited(&set(some("1"), some("3"))).await?;
    bench.edited(&set(some("3"), None)).await?;
    ensure!(!bench.latest().await?.view().metadata.contains_key("k"));
    let other = Edit::TableMetadata {
        entries: map(&[("l", some("1"))]),
        expected: map(&[("k", None)]),
    };
    bench.edited(&other).await?;
    Ok(())
}

async fn field_metadata(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    let set = |entries: &[(&str, Option<String>)]| Edit::FieldMetadata {
        names: vec!["v".to_owned()],
        entries: map(entries),
    };
    bench
        .edited(&set(&[("k", some("1")), ("l", some("2"))]))
        .await?;
    bench.edited(&set(&[("k", None)])).await?;
    let metadata = bench.field("v").await?.metadata;
    let expected = map(&[("l", "2".to_owned()), ("made.by", "us".to_owned())]);
    ensure!(metadata == expected, "{metadata:?}");
    Ok(())
}

async fn drop_and_add(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.fill("v", 0, 700).await?;
    let names = vec!["v".to_owned()];
    bench.edited(&Edit::DropColumns { names }).await?;
    ensure!(bench.latest().await?.view().field("v").is_none());
    bench.add_column("v").await?;
    let version = bench.latest().await?;
    let values = read(version.as_ref(), 0, "v", &RowSet::full(10)).await?;
    ensure!(
        values == [None; 10],
        "values of the dropped column: {values:?}"
    );
    Ok(())
}

async fn rename(fixture: &dyn TableFixture) -> anyhow::Result<()> {
    let bench = three_fragments(fixture, false).await?;
    bench.fill("v", 0, 700).await?;
    let before = bench.field("v").await?;
    bench.foreign.rename("v", "w").await?;
    let after = bench.field("w").await?;
    ensure!(
        before.id == after.id && before.metadata == after.metadata,
        "{after:?}"
    );
    ensure!(bench.values("w").await?.get(&3) == Some(&Some(703)));
    Ok(())
}
