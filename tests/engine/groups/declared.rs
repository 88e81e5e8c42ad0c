//! Declaring groups, refusing them, and what becomes of them when columns are renamed or dropped.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use lance::dataset::NewColumnTransform;

use super::{PAIR, check, filled, sum, values_of};
use crate::fill::product;
use crate::support::{Scenario, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_added_in_one_commit_and_dropped_in_one() {
    let one = Scenario::standard(Shape::default(), 50).await;
    one.add("p", "a * b", &[]);
    let group = Scenario::standard(Shape::default(), 50).await;
    let declared = group.add("p,q", PAIR, &[]);
    let definition = &declared["definition"];
    assert_eq!(definition["outputs"], serde_json::json!(["p", "q"]));
    assert_eq!(
        definition["output_types"],
        serde_json::json!(["int64", "int64"])
    );
    assert_eq!(group.version().await, one.version().await);
    let schema = group.open().await.schema().clone();
    for name in ["p", "q"] {
        let field = schema.field(name).expect("a field");
        let binding = field.metadata.get("backfill.binding");
        assert_eq!(binding.map(String::as_str), declared["binding"].as_str());
    }
    group.refresh();
    let before = group.version().await;
    let dropped = group.run(&["column", "drop"], &["q", "--drop-values"]);
    assert_eq!(dropped.expect_code(0).json()["column"], "p,q");
    // The definition, and both columns.
    assert_eq!(group.version().await, before + 2);
    let schema = group.open().await.schema().clone();
    assert!(schema.field("p").is_none() && schema.field("q").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_group_keeps_its_values_and_each_column_can_be_adopted() {
    let scenario = filled(Shape::default().fragments_of(60), 100).await;
    scenario.run(&["column", "drop"], &["p"]).expect_code(0);
    check(&scenario).await;
    assert!(scenario.status().columns.is_empty());
    let schema = scenario.open().await.schema().clone();
    for name in ["p", "q"] {
        let field = schema.field(name).expect("a field");
        let ours = field.metadata.keys().any(|key| key.starts_with("backfill"));
        assert!(!ours, "{:?}", field.metadata);
    }
    scenario.add("q", "a + b", &["--adopt"]);
    scenario.append(20).await;
    // Those that came in, and NULLs that were results of the group.
    scenario.refresh();
    scenario.check_int("q", sum).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_group_is_refused_and_nothing_is_written() {
    let scenario = Scenario::standard(Shape::default(), 50).await;
    scenario.add("o", "a + b", &[]);
    let version = scenario.version().await;
    let short = "named_struct('p', a)";
    for (column, sql, options, about) in [
        ("p,q", "a * b", &[][..], "returns a struct"),
        ("p,q", short, &[], "no field 'q': its fields are p"),
        ("p,p", PAIR, &[], "named twice"),
        ("p,", PAIR, &[], "cannot be a column name"),
        ("p,_q", PAIR, &[], "cannot be a column name"),
        ("p,q", PAIR, &["--adopt"], "--adopt takes over one column"),
        (
            "p,q",
            PAIR,
            &["--type", "int64"],
            "--type is for one column",
        ),
        ("a,b", "named_struct('a', s, 'b', s)", &[], "exists already"),
        (
            "p,o",
            "named_struct('p', a, 'o', b)",
            &[],
            "computed column already",
        ),
        ("p,q", "named_struct('p', random(), 'q', a)", &[], "random"),
        ("p,q", PAIR, &["--where", "a"], "true or false"),
    ] {
        let refused = scenario.try_add(column, sql, options);
        refused.expect_refusal(&[2], about);
    }
    assert_eq!(scenario.version().await, version);
    scenario.add("p,q", PAIR, &[]);
    for (options, about) in [
        (&["--sql", "a * b"][..], "returns a struct"),
        (&["--sql", short], "no field 'q'"),
        (
            &["--sql", "named_struct('p', s, 'q', a)"],
            "gives string for 'p'",
        ),
        (
            &["--sql", PAIR, "--type", "int64"],
            "--type is for one column",
        ),
    ] {
        let mut all = vec!["p"];
        all.extend_from_slice(options);
        let refused = scenario.run(&["column", "alter"], &all);
        refused.expect_refusal(&[2], about);
    }
    scenario.refresh();
    check(&scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_which_a_column_is_dropped_is_detached_and_deletes_nothing() {
    let scenario = filled(Shape::default().fragments_of(60), 100).await;
    scenario.drop_column("q").await;
    scenario.append(20).await;
    let version = scenario.version().await;
    scenario.run(&["refresh"], &[]).expect_code(0);
    let status = scenario.run(&["status"], &[]).expect_code(0).json();
    let column = &status["columns"][0];
    assert_eq!(
        (column["column"].as_str(), column["state"].as_str()),
        (Some("p,q"), Some("detached"))
    );
    let reason = column["reason"].as_str().expect("a reason");
    assert!(reason.contains("'q' was dropped"), "{reason}");
    assert_eq!(scenario.version().await, version);
    let values = values_of(&scenario, "p").await;
    assert_eq!(values.iter().flatten().count(), 100 - 9);
    // Another column of the name is not ours.
    scenario.add("q", "a", &[]);
    scenario.refresh();
    scenario.check_int("q", |row| row.int("a")).await;
    assert_eq!(scenario.status().column("p,q").state, "detached");
    let refused = scenario.run(&["column", "alter"], &["p", "--sql", PAIR]);
    refused.expect_refusal(&[2], "detached");
    scenario.run(&["column", "drop"], &["p"]).expect_code(0);
    // What is left can be taken over as a column of its own.
    scenario.add("p", "a * b", &["--adopt"]);
    scenario.refresh();
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_follows_its_columns_to_other_names_and_places() {
    let scenario = filled(Shape::default().fragments_of(60), 100).await;
    // Each takes the other's name.
    scenario.rename_column("p", "x").await;
    scenario.rename_column("q", "p").await;
    scenario.rename_column("x", "q").await;
    let report = scenario.expect_rest_of_columns().await;
    assert_eq!(report.column("q,p").rows_current, 100);
    scenario.append(20).await;
    assert_eq!(scenario.refresh().assigned("q,p"), 20);
    scenario.check_int("q", product).await;
    scenario.check_int("p", sum).await;
    // The expression goes on knowing them by the names that they were declared by.
    let all = [
        "--sql",
        "named_struct('q', a, 'p', b)",
        "--on-change",
        "recompute_all",
    ];
    scenario.alter("p", &all);
    scenario.refresh();
    scenario.check_int("q", |row| row.int("b")).await;
    scenario.check_int("p", |row| row.int("a")).await;
    scenario.expect_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_declaration_died_half_way_is_taken_over_whole() {
    let scenario = Scenario::standard(Shape::default().fragments_of(60), 100).await;
    let field = |name: &str| {
        let metadata = [("backfill.binding", "half"), ("backfill.output", name)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Field::new(name, DataType::Int64, true).with_metadata(HashMap::from(metadata))
    };
    let schema = Arc::new(Schema::new(vec![field("p"), field("q")]));
    let mut dataset = scenario.open().await;
    let added = dataset.add_columns(NewColumnTransform::AllNulls(schema), None, None);
    added.await.expect("adds");
    assert!(scenario.status().columns.is_empty());
    // One of them alone would leave the other behind.
    let alone = scenario.try_add("p", "a * b", &[]);
    alone.expect_refusal(&[2], "exists already");
    let more = "named_struct('p', a * b, 'q', a + b, 'r', a)";
    let more = scenario.try_add("p,q,r", more, &[]);
    more.expect_refusal(&[2], "exists already");
    let declared = scenario.add("q,p", PAIR, &[]);
    assert_eq!(declared["binding"], "half");
    assert_eq!(scenario.refresh().assigned("q,p"), 100);
    check(&scenario).await;
    scenario.expect_rest().await;
}
