//! What every queue must do.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use lance_backfill_ports::ErrorKind;
use lance_backfill_ports::queue::{Delivery, Outgoing, Queue};

/// Time in which what is there is delivered.
const SOON: Duration = Duration::from_secs(1);

/// Empty queues of one kind.
pub struct QueueFixture<'a> {
    /// Without an order; what is received too often goes to `dead`.
    pub standard: &'a dyn Queue,
    /// In order within groups.
    pub ordered: &'a dyn Queue,
    /// Dead letters of `standard`.
    pub dead: &'a dyn Queue,
    /// How long a message is hidden when it was received.
    pub visibility: Duration,
    /// Receives after which a message of `standard` is dead.
    pub most_receives: u32,
}

/// Checks all claims about queues; takes some times the visibility.
pub async fn queue(fixture: &QueueFixture<'_>) -> anyhow::Result<()> {
    let QueueFixture {
        standard, ordered, ..
    } = *fixture;
    ensure!(standard.receive(1, Duration::ZERO).await?.is_empty());
    ensure!(
        standard.visibility().await? == fixture.visibility,
        "what hides messages"
    );
    bodies(standard).await.context("bodies")?;
    many(standard).await.context("many messages")?;
    counted(standard).await.context("counting")?;
    too_large(standard)
        .await
        .context("a message that is too large")?;
    hidden_and_again(fixture).await.context("visibility")?;
    given_back(standard).await.context("giving back")?;
    kept(fixture).await.context("keeping")?;
    delayed(standard).await.context("a delay")?;
    dead_letters(fixture).await.context("dead letters")?;
    order(ordered).await.context("order")?;
    groups(ordered).await.context("groups")?;
    once(ordered).await.context("once")
}

async fn one(queue: &dyn Queue) -> anyhow::Result<Delivery> {
    let mut found = queue.receive(1, SOON).await?;
    ensure!(found.len() == 1, "{} messages", found.len());
    found.pop().context("a message")
}

async fn none(queue: &dyn Queue) -> anyhow::Result<()> {
    let found = queue.receive(10, Duration::ZERO).await?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

async fn bodies(queue: &dyn Queue) -> anyhow::Result<()> {
    for body in ["{\"a\": 1}", "two\nlines\t", "größer als Ω 🙂", " "] {
        queue.send(&[Outgoing::new(body.to_owned())]).await?;
        let found = one(queue).await?;
        ensure!(found.body == body, "{body:?} came as {:?}", found.body);
        ensure!(found.receives == 1);
        let receipt = [found.receipt];
        queue.acknowledge(&receipt).await?;
        queue.acknowledge(&receipt).await?;
    }
    none(queue).await
}

async fn counted(queue: &dyn Queue) -> anyhow::Result<()> {
    let messages: Vec<_> = (0..3)
        .map(|number| Outgoing::new(format!("m{number}")))
        .collect();
    queue.send(&messages).await?;
    let expect = async |waiting: u64, in_flight: u64| {
        let depth = queue.depth().await?;
        ensure!(
            (depth.waiting, depth.in_flight) == (waiting, in_flight),
            "{depth:?}"
        );
        anyhow::Ok(())
    };
    expect(3, 0).await?;
    let found = queue.receive(10, SOON).await?;
    ensure!(found.len() == 3, "{} messages", found.len());
    expect(0, 3).await?;
    let receipts: Vec<_> = found.into_iter().map(|delivery| delivery.receipt).collect();
    queue.acknowledge(&receipts).await?;
    expect(0, 0).await
}

async fn many(queue: &dyn Queue) -> anyhow::Result<()> {
    let sent: BTreeSet<String> = (0..33).map(|number| format!("m{number}")).collect();
    let messages: Vec<_> = sent.iter().cloned().map(Outgoing::new).collect();
    queue.send(&messages).await?;
    let mut found = BTreeSet::new();
    while found.len() < sent.len() {
        let some = queue.receive(10, SOON).await?;
        ensure!(!some.is_empty(), "{} of {}", found.len(), sent.len());
        let receipts: Vec<_> = some.iter().map(|message| message.receipt.clone()).collect();
        for message in some {
            ensure!(found.insert(message.body.clone()), "{} twice", message.body);
        }
        queue.acknowledge(&receipts).await?;
    }
    ensure!(found == sent);
    // Several of them are more than one request holds.
    let half = "x".repeat(600 << 10);
    let large = [half.clone(), half.clone(), half].map(Outgoing::new);
    queue.send(&large).await?;
    for _ in 0..large.len() {
        let found = one(queue).await?;
        ensure!(found.body.len() == 600 << 10);
        queue.acknowledge(&[found.receipt]).await?;
    }
    none(queue).await
}

async fn too_large(queue: &dyn Queue) -> anyhow::Result<()> {
    let largest = Outgoing::new("x".repeat(1 << 20));
    queue.send(&[largest]).await?;
    let found = one(queue).await?;
    queue.acknowledge(&[found.receipt]).await?;
    let larger = Outgoing::new("x".repeat((1 << 20) + 1));
    let error = queue.send(&[larger]).await.err().context("it is taken")?;
    ensure!(error.kind == ErrorKind::Invalid, "{error:?}");
    none(queue).await
}

async fn hidden_and_again(fixture: &QueueFixture<'_>) -> anyhow::Result<()> {
    let queue = fixture.standard;
    queue.send(&[Outgoing::new("again".to_owned())]).await?;
    let first = one(queue).await?;
    none(queue).await?;
    let second = queue.receive(1, fixture.visibility + SOON).await?;
    let [second] = second.as_slice() else {
        anyhow::bail!("it did not come again");
    };
    ensure!((second.body.as_str(), second.receives) == ("again", 2));
    ensure!(second.receipt != first.receipt);
    queue
        .acknowledge(std::slice::from_ref(&second.receipt))
        .await?;
    ensure!(
        queue
            .receive(1, fixture.visibility + SOON)
            .await?
            .is_empty()
    );
    Ok(())
}

async fn given_back(queue: &dyn Queue) -> anyhow::Result<()> {
    queue.send(&[Outgoing::new("back".to_owned())]).await?;
    let first = one(queue).await?;
    ensure!(queue.extend(&first.receipt, Duration::ZERO).await?);
    let second = one(queue).await?;
    ensure!(second.receives == 2);
    queue
        .acknowledge(std::slice::from_ref(&second.receipt))
        .await?;
    ensure!(!queue.extend(&second.receipt, SOON).await?, "it is gone");
    Ok(())
}

async fn kept(fixture: &QueueFixture<'_>) -> anyhow::Result<()> {
    let queue = fixture.standard;
    queue.send(&[Outgoing::new("kept".to_owned())]).await?;
    let first = one(queue).await?;
    ensure!(
        queue
            .extend(&first.receipt, fixture.visibility + SOON * 3)
            .await?
    );
    let other = queue.receive(1, fixture.visibility + SOON).await?;
    ensure!(other.is_empty(), "somebody else got it");
    queue.acknowledge(&[first.receipt]).await?;
    Ok(())
}

async fn delayed(queue: &dyn Queue) -> anyhow::Result<()> {
    let late = Outgoing {
        delay: Duration::from_secs(2),
        ..Outgoing::new("late".to_owned())
    };
    queue.send(&[late]).await?;
    none(queue).await?;
    let found = queue.receive(1, Duration::from_secs(4)).await?;
    let [found] = found.as_slice() else {
        anyhow::bail!("it did not come");
    };
    queue
        .acknowledge(std::slice::from_ref(&found.receipt))
        .await?;
    Ok(())
}

async fn dead_letters(fixture: &QueueFixture<'_>) -> anyhow::Result<()> {
    let queue = fixture.standard;
    queue.send(&[Outgoing::new("poison".to_owned())]).await?;
    for receives in 1..=fixture.most_receives {
        let found = one(queue).await?;
        ensure!(found.receives == receives, "{found:?}");
        queue.extend(&found.receipt, Duration::ZERO).await?;
    }
    none(queue).await?;
    let dead = one(fixture.dead).await?;
    ensure!(dead.body == "poison");
    fixture.dead.acknowledge(&[dead.receipt]).await?;
    Ok(())
}

async fn order(queue: &dyn Queue) -> anyhow::Result<()> {
    let messages: Vec<_> = (0..25)
        .map(|number| {
            Outgoing::new(number.to_string())
                .in_group("a")
                .once(format!("o{number}"))
        })
        .collect();
    queue.send(&messages).await?;
    let mut found = vec![];
    while found.len() < messages.len() {
        let some = queue.receive(10, SOON).await?;
        ensure!(!some.is_empty(), "{} came", found.len());
        for message in some {
            found.push(message.body);
            queue.acknowledge(&[message.receipt]).await?;
        }
    }
    let sent: Vec<_> = messages.into_iter().map(|message| message.body).collect();
    ensure!(found == sent, "{found:?}");
    none(queue).await
}

async fn groups(queue: &dyn Queue) -> anyhow::Result<()> {
    let message = |body: &str, group: &str| {
        Outgoing::new(body.to_owned())
            .in_group(group)
            .once(format!("g-{body}"))
    };
    queue
        .send(&[message("a1", "a"), message("a2", "a"), message("b1", "b")])
        .await?;
    let first = one(queue).await?;
    // Whichever group it is of, the rest of that group waits for it.
    let rest: BTreeSet<String> = queue
        .receive(10, SOON)
        .await?
        .iter()
        .map(|message| message.body.clone())
        .collect();
    let other = match first.body.as_str() {
        "a1" => BTreeSet::from(["b1".to_owned()]),
        "b1" => BTreeSet::from(["a1".to_owned(), "a2".to_owned()]),
        other => anyhow::bail!("{other} came first"),
    };
    ensure!(rest == other, "after {} came {rest:?}", first.body);
    Ok(())
}

async fn once(queue: &dyn Queue) -> anyhow::Result<()> {
    let message = |body: &str| {
        Outgoing::new(body.to_owned())
            .in_group("c")
            .once("the same")
    };
    queue.send(&[message("first")]).await?;
    queue.send(&[message("second")]).await?;
    let mut found = vec![];
    loop {
        let some = queue.receive(10, SOON).await?;
        let of_group = some
            .into_iter()
            .filter(|it| !it.body.starts_with(['a', 'b']));
        let of_group: Vec<_> = of_group.collect();
        if of_group.is_empty() {
            break;
        }
        for message in of_group {
            found.push(message.body);
            queue.acknowledge(&[message.receipt]).await?;
        }
    }
    ensure!(found == ["first"], "{found:?}");
    Ok(())
}
