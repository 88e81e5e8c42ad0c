//! What every state store must do.

use anyhow::ensure;
use bytes::Bytes;
use futures::future::join_all;
use lance_backfill_ports::state_store::{Created, StateStore};

/// Callers that create one object at the same time.
const RIVALS: usize = 16;

/// Checks all claims about state stores on an empty one.
pub async fn state_store(store: &dyn StateStore) -> anyhow::Result<()> {
    absent(store).await?;
    create_if_absent(store).await?;
    rivals(store).await?;
    listing(store).await?;
    two_folders(store).await?;
    deletion(store).await
}

async fn absent(store: &dyn StateStore) -> anyhow::Result<()> {
    ensure!(
        store.get("a/1").await?.is_none(),
        "an empty store has an object"
    );
    ensure!(
        store.list("").await?.is_empty(),
        "an empty store lists objects"
    );
    ensure!(
        store.list("a").await?.is_empty(),
        "a folder that is not there"
    );
    store.delete("a/1").await?;
    Ok(())
}

async fn create_if_absent(store: &dyn StateStore) -> anyhow::Result<()> {
    let first = store.create("a/1", Bytes::from_static(b"first")).await?;
    ensure!(first == Created::New, "the first: {first:?}");
    let second = store.create("a/1", Bytes::from_static(b"second")).await?;
    ensure!(second == Created::AlreadyThere, "the second: {second:?}");
    let kept = store.get("a/1").await?;
    ensure!(kept.as_deref() == Some(b"first".as_slice()), "{kept:?}");
    let empty = store.create("a/2", Bytes::new()).await?;
    ensure!(empty == Created::New, "an empty object: {empty:?}");
    let empty = store.get("a/2").await?;
    ensure!(empty.is_some_and(|bytes| bytes.is_empty()));
    Ok(())
}

async fn rivals(store: &dyn StateStore) -> anyhow::Result<()> {
    let attempts = (0..RIVALS).map(|rival| async move {
        let bytes = Bytes::from(rival.to_string());
        store.create("race/1", bytes).await
    });
    let mut winners = vec![];
    for (rival, outcome) in join_all(attempts).await.into_iter().enumerate() {
        if outcome? == Created::New {
            winners.push(rival.to_string());
        }
    }
    ensure!(winners.len() == 1, "{} created one object", winners.len());
    let stands = store.get("race/1").await?;
    let winner = winners.first().map(String::as_bytes);
    ensure!(stands.as_deref() == winner, "{stands:?} of {winners:?}");
    Ok(())
}

async fn listing(store: &dyn StateStore) -> anyhow::Result<()> {
    let paths = ["l/b", "l/a/10", "l/a/9", "l/a/deep/er/x", "l/ab/1", "l/a-b"];
    for path in paths {
        let created = store.create(path, Bytes::from_static(b"four")).await?;
        ensure!(created == Created::New, "{path}: {created:?}");
    }
    let list = |folder| async move {
        let listed = store.list(folder).await?;
        let wrong = listed.iter().find(|object| object.size_bytes != 4);
        ensure!(wrong.is_none(), "{wrong:?}");
        anyhow::Ok(
            listed
                .into_iter()
                .map(|object| object.path)
                .collect::<Vec<_>>(),
        )
    };
    let all = list("l").await?;
    let mut sorted = paths.map(str::to_owned).to_vec();
    sorted.sort_unstable();
    ensure!(all == sorted, "in order of paths: {all:?}");
    let folder = list("l/a").await?;
    ensure!(folder == ["l/a/10", "l/a/9", "l/a/deep/er/x"], "{folder:?}");
    ensure!(list("l/a/deep").await? == ["l/a/deep/er/x"]);
    ensure!(
        list("l/a/d").await?.is_empty(),
        "a folder is no prefix of a name"
    );
    let everything = store.list("").await?;
    ensure!(everything.len() == paths.len() + 3, "{everything:?}");
    let ordered = everything.is_sorted_by(|left, right| left.path < right.path);
    ensure!(ordered, "{everything:?}");
    Ok(())
}

async fn two_folders(store: &dyn StateStore) -> anyhow::Result<()> {
    for path in ["k/1", "ledger/1", "m/1", "snapshot/1", "snapshot/2", "t/1"] {
        let created = store.create(path, Bytes::new()).await?;
        ensure!(created == Created::New, "{path}: {created:?}");
    }
    let listed = store.list_two("ledger", "snapshot").await?;
    let mut paths: Vec<_> = listed.into_iter().map(|object| object.path).collect();
    // What lies between may come along.
    let is_between = |path: &str| path > "ledger/" && path < "snapshot/";
    paths.retain(|path| path.starts_with("ledger/") || !is_between(path));
    ensure!(
        paths == ["ledger/1", "snapshot/1", "snapshot/2"],
        "{paths:?}"
    );
    Ok(())
}

async fn deletion(store: &dyn StateStore) -> anyhow::Result<()> {
    store.delete("l/b").await?;
    store.delete("l/b").await?;
    ensure!(store.get("l/b").await?.is_none(), "it is still there");
    let listed = store.list("l").await?;
    ensure!(!listed.iter().any(|object| object.path == "l/b"));
    let again = store.create("l/b", Bytes::from_static(b"new")).await?;
    ensure!(again == Created::New, "after deletion: {again:?}");
    Ok(())
}
