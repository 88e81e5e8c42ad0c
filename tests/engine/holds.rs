//! Unattended work keeps to its limits: it waits for a person, who approves or resumes.

use crate::fill::product;
use crate::support::serving::{Serving, eventually};
use crate::support::{ColumnReport, Scenario, Shape};

fn serve(scenario: &Scenario) -> Serving {
    Serving::start(&scenario.arguments(&["serve"], &["--poll-s", "1"]))
}

/// Waits until `status` says something of the column.
async fn eventually_says(scenario: &Scenario, what: &str, says: impl Fn(&ColumnReport) -> bool) {
    eventually(what, async || says(scenario.status().column("p"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_wait_for_approval_and_few_do_not() {
    let scenario = Scenario::standard(Shape::default(), 40).await;
    scenario.add("p", "a * b", &["--approve-above-rows", "50"]);
    let serving = serve(&scenario);
    eventually_says(&scenario, "40 rows need no approval", |p| {
        p.rows_current == 40
    })
    .await;
    scenario.append(120).await;
    eventually_says(&scenario, "120 rows are held", |p| p.state == "held").await;
    assert_eq!(scenario.status().column("p").rows_remaining, 120);
    let approved = scenario
        .run(&["approve"], &["p", "--up-to", "30"])
        .expect_code(0)
        .json();
    assert_eq!(
        (&approved["was_held"], &approved["rows_approved"]),
        (&true.into(), &30.into())
    );
    eventually_says(&scenario, "the others are held again", |p| {
        p.rows_current == 70 && p.state == "held"
    })
    .await;
    let approved = scenario.run(&["approve"], &["p"]).expect_code(0).json();
    assert_eq!(approved["rows_approved"], 90);
    eventually_says(&scenario, "all are done", |p| p.rows_current == 160).await;
    // An approval is for the rows that were there.
    scenario.append(60).await;
    eventually_says(&scenario, "new rows are held anew", |p| p.state == "held").await;
    serving.stop("-TERM", 143);
    scenario.add("q", "p + 1", &[]);
    let alone = scenario
        .run(&["refresh"], &["--column", "q"])
        .expect_code(1);
    let told = "column 'q': 60 rows wait for column 'p', which is held";
    assert!(alone.stderr.contains(told), "{alone:#?}");
    // What a person asks for by name needs no approval, and ends the hold.
    let report = scenario.refresh();
    assert_eq!(report.assigned("p"), 60);
    scenario.check_int("p", product).await;
    scenario.expect_rest().await;
    assert_eq!(scenario.status().column("p").state, "settled");
    let nothing = scenario.run(&["approve"], &["p"]).expect_code(0).json();
    assert_eq!(nothing["was_held"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_whose_rows_fail_too_often_is_held_until_a_person_resumes_it() {
    let scenario = Scenario::standard(Shape::default(), 70).await;
    scenario.add("p", "100 / b", &["--max-failed-rows", "2"]);
    let serving = serve(&scenario);
    eventually_says(&scenario, "the failing column is held", |p| {
        p.state == "held"
    })
    .await;
    let held = scenario.status();
    scenario.append(30).await;
    serving.wait_line("too many rows failed");
    scenario.run(&["refresh"], &[]).expect_code(1);
    let now = scenario.status();
    assert_eq!(
        now.column("p").rows_remaining,
        held.column("p").rows_remaining + 30,
        "nothing begins again"
    );
    scenario
        .run(&["approve"], &["p"])
        .expect_refusal(&[2], "column resume");
    scenario.alter("p", &["--sql", "CASE WHEN b = 0 THEN 0 ELSE 100 / b END"]);
    scenario.run(&["column", "resume"], &["p"]).expect_code(0);
    eventually_says(&scenario, "it goes on", |p| p.rows_current == 100).await;
    serving.stop("-TERM", 143);
    let mended = |row: &crate::support::Row| match row.int("b")? {
        0 => Some(0),
        b => Some(100 / b),
    };
    scenario.check_int("p", mended).await;
    scenario.expect_rest().await;
}
