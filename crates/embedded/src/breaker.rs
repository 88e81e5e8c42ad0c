//! What a person is told of a breaker that is open.

use lance_backfill_stages::survey::StandingBreaker;

use crate::pause::duration_text;

/// One line for a person.
pub fn breaker_line(standing: &StandingBreaker, now_ms: u64) -> String {
    let StandingBreaker { open, until_ms } = standing;
    let faults = match open.faults {
        1 => "a fault".to_owned(),
        faults => format!("{faults} faults in a row"),
    };
    let probe = match until_ms.saturating_sub(now_ms) {
        0 => "one batch probes now".to_owned(),
        left_ms => format!("one batch probes in {}", duration_text(left_ms)),
    };
    format!(
        "the breaker is open after {faults}: {}; {probe}, and 'column resume' ends the wait",
        open.message
    )
}
