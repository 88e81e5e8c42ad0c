//! Pausing a table: while others maintain it, nothing of ours is published.

use lance_backfill_core::format::{decode, encode};
use lance_backfill_core::pause::{PauseBody, PauseEntry, pause_number, pause_path};
use lance_backfill_ports::state_store::{Created, Listed, StateStore};
use lance_backfill_ports::{Error, ErrorKind, Result};

use crate::engine::Engine;

/// Beside the folders of the columns, whose names are random.
const FOLDER: &str = "pauses";
/// Age at which entries that do not count any more are deleted. Far above the time of one call:
/// whoever still means to write a number finds a higher one.
const COLLECT_AFTER_MS: u64 = 24 * 3_600_000;
/// Lost races for a number before we give up.
const MOST_ATTEMPTS: usize = 30;

impl Engine {
    /// Until when nothing may be published, if a pause of the table is in force.
    pub async fn paused_until_ms(&self) -> Result<Option<u64>> {
        let listed = self.pauses().await?;
        let Some((_, newest)) = newest(&listed) else {
            return Ok(None);
        };
        let path = format!("{FOLDER}/{}", newest.path);
        let Some(bytes) = self.household.folder(FOLDER).get(&newest.path).await? else {
            // Collected meanwhile: there is a newer one, which the next call finds.
            return Ok(None);
        };
        let entry: PauseEntry = decode(&bytes).map_err(|error| {
            let error = Error::from(error);
            let hint = match error.kind {
                ErrorKind::Corrupt => "; delete it to go on",
                _ => "",
            };
            Error::new(error.kind, format!("state file '{path}': {error}{hint}"))
        })?;
        Ok(entry.holds_until_ms(newest.created_ms, self.world.now_ms()))
    }

    /// Publishes nothing for this long, in no process; replaces the pause that is in force.
    pub async fn pause(&self, for_s: u64) -> Result<()> {
        self.write_pause(PauseBody::Pause { for_s }).await
    }

    /// Ends a pause; says whether one was in force.
    pub async fn resume(&self) -> Result<bool> {
        let paused = self.paused_until_ms().await?.is_some();
        if paused {
            self.write_pause(PauseBody::Resume {}).await?;
        }
        Ok(paused)
    }

    /// Milliseconds for which the table stays paused, if it is.
    pub async fn paused_for_ms(&self) -> Result<Option<u64>> {
        let until_ms = self.paused_until_ms().await?;
        Ok(until_ms.map(|until_ms| until_ms.saturating_sub(self.world.now_ms())))
    }

    /// Refuses what would disturb those for whom the table is paused.
    pub(crate) async fn refuse_while_paused(&self) -> Result<()> {
        match self.paused_for_ms().await? {
            Some(for_ms) => Err(Error::new(ErrorKind::Unavailable, paused_line(for_ms))),
            None => Ok(()),
        }
    }

    async fn pauses(&self) -> Result<Vec<Listed>> {
        self.household.folder(FOLDER).list("").await
    }

    async fn write_pause(&self, body: PauseBody) -> Result<()> {
        self.settle().await?;
        let entry = encode(&PauseEntry::new(body))?;
        let store = self.household.folder(FOLDER);
        for _ in 0..MOST_ATTEMPTS {
            let listed = self.pauses().await?;
            let highest = newest(&listed);
            let number = highest.map_or(1, |(number, _)| number + 1);
            let path = pause_path(number);
            match store.create(&path, entry.clone().into()).await? {
                // Somebody else took the number: what they said is older than what we say.
                Created::AlreadyThere => continue,
                Created::New => {}
            }
            let now_ms = self.world.now_ms();
            for old in listed {
                let spent = old.created_ms.saturating_add(COLLECT_AFTER_MS) < now_ms;
                if pause_number(&old.path).is_some() && spent {
                    store.delete(&old.path).await?;
                }
            }
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "cannot pause or resume the table: too many others do, try again",
        ))
    }
}

fn newest(listed: &[Listed]) -> Option<(u64, &Listed)> {
    listed
        .iter()
        .filter_map(|object| Some((pause_number(&object.path)?, object)))
        .max_by_key(|(number, _)| *number)
}

/// What everybody says who finds the table paused.
pub fn paused_line(for_ms: u64) -> String {
    format!(
        "the table is paused for another {}; 'lance-backfill resume TABLE' ends that",
        duration_text(for_ms)
    )
}

/// A time in the largest unit that tells enough, rounded up.
pub fn duration_text(ms: u64) -> String {
    let s = ms.div_ceil(1_000);
    match s {
        0..=99 => format!("{s} s"),
        100..=5_999 => format!("{} min", s.div_ceil(60)),
        _ => format!("{} h", s.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::duration_text;

    #[test]
    fn times_are_rounded_up() {
        assert_eq!(duration_text(1), "1 s");
        assert_eq!(duration_text(99_000), "99 s");
        assert_eq!(duration_text(1_799_500), "30 min");
        assert_eq!(duration_text(7_200_000), "2 h");
    }
}
