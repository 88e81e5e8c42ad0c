//! A canary shows what another function would do, and what it would cost; nothing is stored.

use crate::support::{Functions, Scenario, Shape};

const CODE: &str = r#"
@udf
def present(id: int) -> int:
    note("present", id)
    return id + 1

@udf
def changed(id: int) -> int:
    note("changed", id)
    if id % 4 == 0: raise ValueError("no fours")
    return id + 1 if id % 4 == 2 else -id
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_runs_both_functions_on_the_same_rows_and_stores_nothing() {
    let Some(functions) = Functions::new(CODE) else {
        return;
    };
    let scenario = Scenario::standard(Shape::default().fragments_of(300), 1_000).await;
    functions.add(&scenario, "p", "present", &["--where", "id % 2 = 0"]);
    let version = scenario.version().await;
    let from = functions.path();
    let options = [
        "p",
        "--udf",
        "udfs:changed",
        "--from",
        &from,
        "--rows",
        "40",
        "--cost-per-hour",
        "3.6",
    ];
    let outcome = functions
        .run(&scenario, &["column", "canary"], &options)
        .expect_code(0);
    let document = outcome.json();
    assert_eq!(scenario.version().await, version);
    // What the survey learned of the filter may be noted; nothing is handed out, nothing is packed.
    let written = |part: &str| {
        let files = scenario.state_files();
        files
            .keys()
            .filter(|path| path.to_string_lossy().contains(part))
            .count()
    };
    assert_eq!(
        written("/ledger/") + written("/values/") + written("/checkpoints/"),
        0
    );
    assert_eq!(written("/artifacts/"), 1);
    assert_eq!(document["rows_tried"], 40);
    assert_eq!(document["rows_eligible"], 500);
    let rows = document["rows"].as_array().expect("rows");
    for row in rows {
        let id: i64 = row["inputs"]["id"]
            .as_str()
            .expect("text")
            .parse()
            .expect("a number");
        assert_eq!(id % 2, 0, "the filter holds");
        assert_eq!(row["present"]["value"], (id + 1).to_string());
        match id % 4 {
            0 => assert_eq!(row["changed"]["error"], "ValueError: no fours"),
            _ => assert_eq!(row["changed"]["value"], (id + 1).to_string()),
        }
        assert_eq!(row["differs"], id % 4 == 0);
    }
    let fours = rows.iter().filter(|row| row["differs"] == true).count();
    assert_eq!(document["changed"]["rows_failed"], fours);
    assert_eq!(document["rows_different"], fours);
    let estimate = &document["changed"]["estimate"];
    assert!(estimate["seconds"].as_f64().expect("seconds") > 0.0);
    assert!(estimate["cost"]["expected"].as_f64().expect("money") > 0.0);
    // Each row once by each function, and no other row.
    let calls = functions.calls();
    assert_eq!(calls.len(), 80, "{calls:?}");
    let fragments: std::collections::BTreeSet<_> =
        rows.iter().map(|row| row["fragment"].as_u64()).collect();
    assert_eq!(fragments.len(), 4, "rows of the whole table");
}
