use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use lance_backfill_ports::queue::{Depth, Outgoing, Receipt};
use lance_backfill_ports::{Error, ErrorKind};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::InProcessQueue;
use crate::clock::wait;

/// As short as the clock of a busy machine allows.
const VISIBILITY: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);

fn queue(visibility: Duration) -> Arc<dyn Queue> {
    Arc::new(InProcessQueue::new(visibility))
}

async fn send(queue: &Arc<dyn Queue>, bodies: &[&str]) {
    let messages: Vec<_> = (bodies.iter())
        .map(|body| Outgoing::new((*body).to_owned()))
        .collect();
    queue.send(&messages).await.expect("sends");
}

/// What is there for others at once, with how often it was delivered.
async fn rest(queue: &Arc<dyn Queue>) -> Vec<(String, u32)> {
    let mut found = vec![];
    loop {
        let some = queue.receive(10, Duration::ZERO).await.expect("receives");
        if some.is_empty() {
            found.sort_unstable();
            return found;
        }
        let message = |delivery: Delivery| (delivery.body, delivery.receives);
        found.extend(some.into_iter().map(message));
    }
}

const fn options(at_once: usize, visibility: Duration, grace: Duration) -> PullOptions {
    PullOptions {
        at_once,
        visibility,
        grace,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_longer_than_its_message_is_hidden_is_delivered_once_even_if_it_blocks() {
    for blocks in [false, true] {
        let queue = queue(VISIBILITY);
        send(&queue, &["long"]).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let (done, mut ended) = mpsc::unbounded_channel();
        let work = |_: Delivery, _: Until| {
            let (calls, done) = (calls.clone(), done.clone());
            async move {
                calls.fetch_add(1, Ordering::SeqCst);
                match blocks {
                    true => std::thread::sleep(VISIBILITY * 3),
                    false => wait(VISIBILITY * 3).await,
                }
                done.send(()).expect("somebody waits");
                Ok(Done::Yes)
            }
        };
        let lanes = [queue.clone()];
        let stop = async {
            ended.recv().await;
        };
        let pulled = pull(&lanes, &options(2, VISIBILITY, LONG), stop, work).await;
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!((pulled.done, pulled.lost), (1, 0));
        assert_eq!(rest(&queue).await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_ends_what_fits_into_the_grace_and_gives_the_rest_back_at_once() {
    let queue = queue(LONG);
    send(&queue, &["soon", "called off", "never", "waits"]).await;
    let (began, mut beginning) = mpsc::unbounded_channel();
    let stopped = Arc::new(Notify::new());
    let work = |delivery: Delivery, until: Until| {
        let (began, stopped) = (began.clone(), stopped.clone());
        async move {
            began.send(()).expect("somebody waits");
            match delivery.body.as_str() {
                "soon" => stopped.notified().await,
                "called off" => until.over().await,
                _ => std::future::pending().await,
            }
            match delivery.body.as_str() {
                "soon" => Ok(Done::Yes),
                _ => Err(Error::new(ErrorKind::Unavailable, "no time")),
            }
        }
    };
    let lanes = [queue.clone()];
    let stop = async {
        for _ in 0..3 {
            beginning.recv().await;
        }
        stopped.notify_one();
    };
    let options = options(3, LONG, Duration::from_millis(800));
    let pulled = pull(&lanes, &options, stop, work).await;
    let expected = Pulled {
        done: 1,
        given_back: 2,
        ..Pulled::default()
    };
    assert_eq!(pulled, expected);
    let given_back = |body: &str, receives| (body.to_owned(), receives);
    let expected = [
        given_back("called off", 2),
        given_back("never", 2),
        given_back("waits", 1),
    ];
    assert_eq!(rest(&queue).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_worker_had_comes_to_another() {
    let queue = queue(VISIBILITY);
    send(&queue, &["a", "b"]).await;
    let (began, mut beginning) = mpsc::unbounded_channel();
    let lanes = [queue.clone()];
    let crashing = tokio::spawn({
        let (began, lanes) = (began.clone(), lanes.clone());
        async move {
            let work = |delivery: Delivery, _: Until| {
                let began = began.clone();
                async move {
                    began.send(delivery.body).expect("somebody waits");
                    std::future::pending().await
                }
            };
            let options = options(2, VISIBILITY, LONG);
            pull(&lanes, &options, std::future::pending(), work).await
        }
    });
    for _ in 0..2 {
        beginning.recv().await;
    }
    crashing.abort();
    let work = |delivery: Delivery, _: Until| {
        let began = began.clone();
        async move {
            assert_eq!(delivery.receives, 2);
            began.send(delivery.body).expect("somebody waits");
            Ok(Done::Yes)
        }
    };
    let stop = async {
        for _ in 0..2 {
            beginning.recv().await;
        }
    };
    let pulled = pull(&lanes, &options(2, VISIBILITY, LONG), stop, work).await;
    assert_eq!(pulled.done, 2);
    assert_eq!(rest(&queue).await, []);
}

/// How many were at work at once at most, of so many messages; each ends when `together` are.
async fn most_at_once(queue: &Arc<dyn Queue>, messages: usize, together: usize) -> usize {
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((now, most));
    let (done, mut ended) = mpsc::unbounded_channel();
    let meeting = Arc::new(tokio::sync::Barrier::new(together));
    let work = |_: Delivery, _: Until| {
        let (counts, done, meeting) = (counts.clone(), done.clone(), meeting.clone());
        async move {
            let (now, most) = counts.as_ref();
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            meeting.wait().await;
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            done.send(()).expect("somebody waits");
            Ok(Done::Yes)
        }
    };
    let stop = async {
        for _ in 0..messages {
            ended.recv().await;
        }
    };
    let lanes = [queue.clone()];
    let pulled = pull(&lanes, &options(3, LONG, LONG), stop, work).await;
    assert_eq!(pulled.done, messages as u64);
    counts.1.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_is_done_alone_and_what_is_new_is_not() {
    let queue = queue(LONG);
    send(&queue, &["one", "two", "three"]).await;
    assert_eq!(most_at_once(&queue, 3, 3).await, 3);
    send(&queue, &["one", "two", "three"]).await;
    // Their worker died.
    for delivery in queue.receive(10, Duration::ZERO).await.expect("receives") {
        let back = queue.extend(&delivery.receipt, Duration::ZERO).await;
        assert!(back.expect("extends"));
    }
    assert_eq!(most_at_once(&queue, 3, 1).await, 1);
    assert_eq!(rest(&queue).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_gives_back_at_once_what_waits_to_be_alone() {
    let (fresh, bulk) = (queue(LONG), queue(LONG));
    send(&fresh, &["new"]).await;
    send(&bulk, &["again"]).await;
    let delivery = bulk.receive(1, Duration::ZERO).await.expect("receives");
    let back = bulk.extend(&delivery[0].receipt, Duration::ZERO).await;
    assert!(back.expect("extends"));
    let given_back = Arc::new(Notify::new());
    let work = |delivery: Delivery, _: Until| {
        let given_back = given_back.clone();
        async move {
            assert_eq!(delivery.body, "new", "the other one waits");
            given_back.notified().await;
            Ok(Done::Yes)
        }
    };
    let lanes = [fresh.clone(), bulk.clone()];
    let in_flight = async |many: u64| {
        while bulk.depth().await.expect("a depth").in_flight != many {
            wait(Duration::from_millis(5)).await;
        }
    };
    // Of two that look, one may miss what the other saw.
    let seen = Notify::new();
    let stop = async {
        in_flight(1).await;
        seen.notify_one();
    };
    let watched = async {
        seen.notified().await;
        in_flight(0).await;
        given_back.notify_one();
    };
    let stopping = options(2, LONG, LONG);
    let (pulled, ()) = tokio::join!(pull(&lanes, &stopping, stop, work), watched);
    let expected = Pulled {
        done: 1,
        given_back: 1,
        ..Pulled::default()
    };
    assert_eq!(pulled, expected);
    assert_eq!(rest(&bulk).await, [("again".to_owned(), 3)]);
}

#[tokio::test]
async fn the_first_lane_goes_before_all_others() {
    let (fresh, bulk) = (queue(LONG), queue(LONG));
    send(&bulk, &["b1", "b2"]).await;
    send(&fresh, &["f1", "f2"]).await;
    let (began, mut beginning) = mpsc::unbounded_channel();
    let work = |delivery: Delivery, _: Until| {
        let began = began.clone();
        async move {
            began.send(delivery.body).expect("somebody waits");
            Ok(Done::Yes)
        }
    };
    let mut order = vec![];
    let stop = async {
        for _ in 0..4 {
            order.extend(beginning.recv().await);
        }
    };
    let pulled = pull(&[fresh, bulk], &options(1, LONG, LONG), stop, work).await;
    assert_eq!(pulled.done, 4);
    assert_eq!(order, ["f1", "f2", "b1", "b2"]);
}

#[tokio::test]
async fn what_fails_or_panics_comes_again() {
    let queue = queue(VISIBILITY);
    send(&queue, &["fails", "panics"]).await;
    let (ended, mut ending) = mpsc::unbounded_channel();
    let work = |delivery: Delivery, _: Until| {
        let ended = ended.clone();
        async move {
            match (delivery.body.as_str(), delivery.receives) {
                ("panics", 1) => panic!("on the first row"),
                (_, 1) => Err(Error::internal("it fails")),
                (_, 2) => Ok(Done::No),
                _ => {
                    ended.send(()).expect("somebody waits");
                    Ok(Done::Yes)
                }
            }
        }
    };
    let stop = async {
        for _ in 0..2 {
            ending.recv().await;
        }
    };
    let lanes = [queue.clone()];
    let pulled = pull(&lanes, &options(2, VISIBILITY, LONG), stop, work).await;
    assert_eq!((pulled.done, pulled.failed), (2, 4));
    assert_eq!(rest(&queue).await, []);
}

/// A queue that gives every message to somebody else as well, and sometimes does not answer.
struct Losing {
    inner: InProcessQueue,
    receives: AtomicUsize,
    extended: Notify,
}

#[async_trait]
impl Queue for Losing {
    async fn send(&self, messages: &[Outgoing]) -> Result<()> {
        self.inner.send(messages).await
    }

    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>> {
        match self.receives.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Error::new(ErrorKind::Unavailable, "busy")),
            _ => self.inner.receive(most, wait).await,
        }
    }

    async fn extend(&self, _: &Receipt, _: Duration) -> Result<bool> {
        self.extended.notify_one();
        Ok(false)
    }

    async fn acknowledge(&self, receipts: &[Receipt]) -> Result<()> {
        self.inner.acknowledge(receipts).await
    }

    async fn visibility(&self) -> Result<Duration> {
        Ok(VISIBILITY)
    }

    async fn depth(&self) -> Result<Depth> {
        self.inner.depth().await
    }
}

#[tokio::test]
async fn a_message_that_somebody_else_got_is_not_acknowledged() {
    let losing = Arc::new(Losing {
        inner: InProcessQueue::new(VISIBILITY),
        receives: AtomicUsize::new(0),
        extended: Notify::new(),
    });
    let lanes: [Arc<dyn Queue>; 1] = [losing.clone()];
    send(&lanes[0], &["ours no more"]).await;
    let done = Arc::new(Notify::new());
    let work = |_: Delivery, _: Until| {
        let (losing, done) = (losing.clone(), done.clone());
        async move {
            losing.extended.notified().await;
            // The keeper has still to hear it.
            wait(Duration::from_millis(50)).await;
            done.notify_one();
            Ok(Done::Yes)
        }
    };
    let pulled = pull(&lanes, &options(1, VISIBILITY, LONG), done.notified(), work).await;
    let expected = Pulled {
        lost: 1,
        ..Pulled::default()
    };
    assert_eq!(pulled, expected);
    let again = losing.inner.receive(1, LONG).await.expect("receives");
    assert_eq!(again.len(), 1);
}
