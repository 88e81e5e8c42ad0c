//! `redrive`: dead letters go back to their queues.

use lance_backfill_embedded::converge::Progress as _;
use lance_backfill_ports::Result;
use lance_backfill_service::QueueName;
use serde::Serialize;

use crate::args::{ProcessArguments, RedriveArguments};
use crate::exit::Exit;
use crate::output::{self, number};
use crate::progress::Bar;
use crate::service::needed;

#[derive(Serialize)]
struct Document {
    service: String,
    dry_run: bool,
    queues: Vec<Queue>,
}

#[derive(Serialize)]
struct Queue {
    queue: String,
    /// About how many there were.
    dead_letters: u64,
    moved: u64,
}

pub(super) async fn run(
    arguments: &RedriveArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let remote = needed(process).await?;
    let RedriveArguments { queue, dry_run } = arguments;
    let wanted = queue.as_deref().map(|name| remote.queue_named(name));
    let wanted = wanted.transpose()?;
    let is_wanted = |queue: &QueueName| wanted.as_ref().is_none_or(|wanted| wanted == queue);
    let mut document = Document {
        service: remote.prefix().to_owned(),
        dry_run: *dry_run,
        queues: vec![],
    };
    if *dry_run {
        let depths = remote.depths().await?.into_iter();
        let counted = depths.filter(|depths| is_wanted(&depths.queue));
        document.queues.extend(counted.map(|depths| Queue {
            queue: depths.queue.to_string(),
            dead_letters: depths.dead_letters,
            moved: 0,
        }));
    } else {
        let bar = Bar::new();
        for queue in remote.queue_names().into_iter().filter(is_wanted) {
            let name = queue.to_string();
            let told = |moved: u64, all: u64| bar.rows(&name, moved, all);
            let redriven = remote.redrive(&queue, &told).await?;
            document.queues.push(Queue {
                queue: name,
                dead_letters: redriven.dead_letters.max(redriven.moved),
                moved: redriven.moved,
            });
        }
        bar.finish();
    }
    Ok(output::result(json, &document, || text(&document)))
}

fn text(document: &Document) -> String {
    let rows: Vec<Vec<String>> = (document.queues.iter())
        .map(|queue| {
            vec![
                queue.queue.clone(),
                number(queue.dead_letters),
                number(queue.moved),
            ]
        })
        .collect();
    output::table(&["queue", "dead letters", "moved"], &rows)
}
