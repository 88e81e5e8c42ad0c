//! The names of fields in logs and spans: a search for one finds the same thing in each line.
//!
//! A test looks that the functions use no other.

/// Each name, and what it means.
pub const FIELDS: &[(&str, &str)] = &[
    ("function", "planner, worker or committer"),
    ("request", "Lambda's id of the invocation"),
    ("cold", "whether it was the first invocation of its process"),
    ("init_ms", "how long that process took to start"),
    ("records", "messages that came"),
    ("failed", "messages that are to come again"),
    ("took_ms", "time of the invocation"),
    ("memory_mb", "the most memory that the process ever used"),
    ("memory_limit_mb", "memory that it may use"),
    ("message", "what a line says"),
    ("message_id", "id of a message in its queue"),
    ("table", "URI of the table"),
    ("column", "name of the column"),
    ("batch", "id of the batch"),
    ("job", "id of the job that ordered it"),
    ("lane", "lane that it came through"),
    ("generation", "what it computes with"),
    (
        "version",
        "version of the table that was looked at or published",
    ),
    ("tables", "how many tables are planned, each by itself"),
    ("hops", "invocations that a plan went through"),
    ("batches", "batches that a planner sent"),
    ("folds", "folds that it sent"),
    ("again", "batches and folds that it sent once more"),
    ("rows", "rows that it sent, or that were published"),
    ("rows_computed", "rows with a value or NULL"),
    ("rows_failed", "rows that failed"),
    ("rows_waiting", "rows in need, whoever has them"),
    ("oldest_s", "how long the oldest of them has waited"),
    ("stalled", "finished batches that nobody publishes"),
    ("quarantined", "batches that were given up"),
    (
        "obsolete",
        "dead letters about work that nobody wants any more",
    ),
    ("left", "dead letters that stay where they are"),
    ("calls", "calls of the function"),
    ("faults", "batches that stopped before their end"),
    ("fault", "why one did"),
    ("held", "why nothing is handed out"),
    ("reason", "why nothing was done"),
    ("error", "what went wrong, with its causes"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::FIELDS;

    /// The arguments of each macro of `tracing` in a source text.
    fn calls(source: &str) -> Vec<Vec<String>> {
        let mut calls = vec![];
        let parts: Vec<&str> = source.split("tracing::").skip(1).collect();
        for part in parts {
            let Some((name, arguments)) = part.split_once("!(") else {
                continue;
            };
            if !name.chars().all(|it| it.is_ascii_lowercase() || it == '_') {
                continue;
            }
            let (mut depth, mut quoted, mut escaped) = (0, false, false);
            let mut found = vec![String::new()];
            for character in arguments.chars() {
                match character {
                    '"' if !escaped => quoted = !quoted,
                    '(' | '{' | '[' if !quoted => depth += 1,
                    ')' if !quoted && depth == 0 => break,
                    ')' | '}' | ']' if !quoted => depth -= 1,
                    ',' if !quoted && depth == 0 => {
                        found.push(String::new());
                        continue;
                    }
                    _ => {}
                }
                escaped = quoted && character == '\\' && !escaped;
                found.last_mut().expect("one at least").push(character);
            }
            calls.push(found);
        }
        calls
    }

    /// Names of the fields among the arguments, but for the text of a line.
    fn names(arguments: &[String]) -> impl Iterator<Item = &str> {
        let trimmed = arguments.iter().map(|argument| argument.trim());
        let fields = trimmed.filter(|argument| !argument.is_empty() && !argument.starts_with('"'));
        let fields = fields.filter(|argument| !argument.starts_with("target:"));
        fields.map(|argument| argument.split('=').next().unwrap_or_default().trim())
    }

    #[test]
    fn arguments_of_macros_are_told_apart() {
        let source = r#"tracing::info!(table, rows = sum(1, 2), held = held.map(|x| (x)), "a, \"b\"");
            use tracing::Instrument; tracing::error!(target: "t", reason, "c")"#;
        let found: Vec<Vec<String>> = calls(source)
            .iter()
            .map(|call| names(call).map(str::to_owned).collect())
            .collect();
        assert_eq!(found, [vec!["table", "rows", "held"], vec!["reason"]]);
    }

    #[test]
    fn the_functions_use_no_other_names() {
        let known: BTreeSet<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        assert_eq!(known.len(), FIELDS.len(), "a name is there twice");
        let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut seen = BTreeSet::new();
        let sources = [
            "planner/src/lib.rs",
            "worker/src/lib.rs",
            "committer/src/lib.rs",
            "bootstrap/src/main.rs",
            "common/src/invocation.rs",
            // What became of a batch, as all workers tell it.
            "../crates/service/src/told.rs",
        ];
        for path in sources {
            let source = std::fs::read_to_string(functions.join(path)).expect("it is there");
            for call in calls(&source) {
                for name in names(&call) {
                    assert!(known.contains(name), "{path} logs '{name}'");
                    seen.insert(name.to_owned());
                }
            }
        }
        for (name, _) in FIELDS.iter().filter(|(name, _)| *name != "message") {
            assert!(seen.contains(*name), "nobody logs '{name}'");
        }
    }
}
