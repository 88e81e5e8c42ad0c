//! How messages are put into one readable line.

use std::fmt::Write as _;

use datafusion::common::DataFusionError;

/// The most characters of a foreign message that one of ours repeats.
const MESSAGE_CHARACTERS: usize = 300;

/// The message of a planner's error without its prefix, in one line.
pub(super) fn message_of(error: &DataFusionError) -> String {
    let message = match error {
        DataFusionError::Plan(message)
        | DataFusionError::Execution(message)
        | DataFusionError::NotImplemented(message) => message.clone(),
        DataFusionError::Internal(message) => {
            // The rest of the internal message asks to report a bug of DataFusion.
            message.lines().next().unwrap_or_default().to_owned()
        }
        other => other.strip_backtrace(),
    };
    // Some messages end with a dump of the syntax tree, spans and all.
    let readable = match message.split_once('{') {
        Some((start, dump)) if dump.contains("Span(") => start.trim_end(),
        _ => &message,
    };
    one_line(readable)
}

/// Whether a planner's message is about the types of arguments.
pub(super) fn mentions_types(message: &str) -> bool {
    let message = message.to_lowercase();
    ["coerc", "type", "argument", "signature", "cast", "expects"]
        .iter()
        .any(|word| message.contains(word))
}

/// `text` in one line of bounded length.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (index, word) in text.split_whitespace().enumerate() {
        let separator = if index == 0 { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(line, "{separator}{word}");
        if line.len() > 8 * MESSAGE_CHARACTERS {
            break;
        }
    }
    if line.chars().count() > MESSAGE_CHARACTERS {
        line = line.chars().take(MESSAGE_CHARACTERS - 1).collect();
        line.push('…');
    }
    line
}

/// `names` for a message, each in backquotes.
pub(super) fn names(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The end of a message that names candidates, empty without one.
pub(super) fn listed(introduction: &str, candidates: &[String]) -> String {
    if candidates.is_empty() {
        String::new()
    } else {
        format!("; {introduction} {}", names(candidates))
    }
}
