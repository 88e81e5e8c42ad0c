//! What the demo shows to a person, at most 80 columns wide.

use arrow_array::{Array, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rows::RowSet;
use lance_backfill_embedded::Engine;
use lance_backfill_ports::{Error, Result};

use super::super::failures::Failures;
use super::super::refresh::Refreshed;
use crate::output::{self, number};

/// Failed rows shown in full.
const MOST_FAILURES: usize = 3;

/// What a refresh did, column by column.
pub(super) fn refreshed(refreshed: &Refreshed) -> String {
    let rows: Vec<Vec<String>> = refreshed
        .columns
        .iter()
        .map(|column| {
            let numbers = &column.numbers;
            let kept = numbers.rows_current.saturating_sub(column.rows_assigned);
            let mut row = vec![column.column.clone()];
            row.extend(
                [
                    column.rows_assigned,
                    kept,
                    numbers.rows_failed,
                    numbers.rows_filtered,
                    numbers.rows_remaining,
                ]
                .map(number),
            );
            row
        })
        .collect();
    let head = [
        "column",
        "assigned",
        "kept",
        "failed",
        "filtered out",
        "remaining",
    ];
    let mut text = output::table(&head, &rows);
    for column in &refreshed.columns {
        if let Some(stopped) = &column.stopped {
            text.push_str(&format!("\n  {}: {stopped}", column.column));
        }
    }
    text
}

/// Some flights with their values, one flight a column: the first of each outcome.
pub(super) async fn flights(engine: &Engine, names: &[&str], outcome: &str) -> Result<String> {
    let version = engine.latest().await?;
    let Some(fragment) = version.view().fragments.last() else {
        return Ok(String::new());
    };
    let batch = read(
        engine,
        fragment.id,
        names,
        &RowSet::full(fragment.physical_rows),
    )
    .await?;
    let mut seen: Vec<String> = vec![];
    let mut rows = vec![];
    let outcomes = cells(&batch, outcome)?;
    for (row, value) in outcomes.into_iter().enumerate() {
        if !seen.contains(&value) {
            seen.push(value);
            rows.push(row);
        }
    }
    let mut lines = vec![];
    for name in names {
        let values = cells(&batch, name)?;
        let mut line = vec![(*name).to_owned()];
        line.extend(
            rows.iter()
                .map(|row| values.get(*row).cloned().unwrap_or_default()),
        );
        lines.push(line);
    }
    let Some((head, body)) = lines.split_first() else {
        return Ok(String::new());
    };
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    Ok(output::table(&head, body))
}

/// Failed rows with the input that they failed on.
pub(super) async fn failures(engine: &Engine, failures: &Failures, input: &str) -> Result<String> {
    let mut lines = vec![];
    for failure in failures.failures.iter().take(MOST_FAILURES) {
        let row = RowSet::range(failure.offset..failure.offset + 1);
        let batch = read(engine, failure.fragment, &[input], &row).await?;
        let value = cells(&batch, input)?.first().cloned().unwrap_or_default();
        lines.push(vec![
            failure.fragment.to_string(),
            number(failure.offset.into()),
            value,
            failure.message.clone(),
        ]);
    }
    let mut text = output::table(&["fragment", "row", input, "error"], &lines);
    let more = failures.failures.len().saturating_sub(MOST_FAILURES);
    if more > 0 {
        text.push_str(&format!("\n … and {} more", number(more as u64)));
    }
    Ok(text)
}

/// A command line as the user would type it, broken before each option if it is long.
///
/// An option without a value is a flag.
pub(super) fn command(words: &[&str], options: &[(&str, &str)]) -> String {
    let mut line = format!("$ lance-backfill {}", words.join(" "));
    let mut width = line.len();
    for (option, value) in options {
        let option = match *value {
            "" => (*option).to_owned(),
            value => format!("{option} {}", quoted(value)),
        };
        if width + option.len() + 3 > 80 {
            line.push_str(" \\\n     ");
            width = 6;
        }
        line.push(' ');
        line.push_str(&option);
        width += option.len() + 1;
    }
    line
}

/// A word for the shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    if word.chars().all(plain) && !word.is_empty() {
        return word.to_owned();
    }
    match word.contains('\'') && !word.contains(['"', '$', '`', '\\', '!']) {
        true => format!("\"{word}\""),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

async fn read(
    engine: &Engine,
    fragment: FragmentId,
    names: &[&str],
    rows: &RowSet,
) -> Result<RecordBatch> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let version = engine.latest().await?;
    let batch_rows = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let mut batches = version.read(fragment, &names, rows, batch_rows).await?;
    batches
        .try_next()
        .await?
        .ok_or_else(|| Error::internal("a fragment of the demo has no rows"))
}

fn cells(batch: &RecordBatch, name: &str) -> Result<Vec<String>> {
    let failed = |error| Error::internal("cannot print a value").with_source(error);
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| Error::internal(format!("column '{name}' was not read")))?;
    let options = FormatOptions::new().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(failed)?;
    (0..column.len())
        .map(|row| formatter.value(row).try_to_string().map_err(failed))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{command, quoted};

    #[test]
    fn words_are_quoted_so_that_a_shell_reads_them_back() {
        assert_eq!(quoted("recompute_all"), "recompute_all");
        assert_eq!(quoted("a - b"), "'a - b'");
        assert_eq!(quoted("a = 'x'"), "\"a = 'x'\"");
        assert_eq!(quoted("a = '$x'"), r"'a = '\''$x'\'''");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_long_command_is_broken_before_an_option() {
        let value = "x".repeat(70);
        let line = command(&["refresh", "t.lance"], &[("--column", &value)]);
        assert_eq!(
            line,
            format!("$ lance-backfill refresh t.lance \\\n      --column {value}")
        );
        assert!(line.lines().all(|line| line.len() <= 86));
    }
}
