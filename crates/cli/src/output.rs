//! What the program prints: results on stdout, everything else on stderr.

use std::io::{IsTerminal, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::exit::Exit;

/// Prints a result: as JSON, or as text for a person.
pub(crate) fn result(json: bool, document: &impl Serialize, text: impl FnOnce() -> String) -> Exit {
    let rendered = if json {
        serde_json::to_string_pretty(document).map_err(|error| error.to_string())
    } else {
        Ok(text())
    };
    match rendered {
        Ok(rendered) => {
            // A reader that went away wants no more.
            let _ = writeln!(std::io::stdout(), "{}", rendered.trim_end());
            Exit::Done
        }
        Err(error) => {
            note(&format!("error: cannot write the result: {error}"));
            Exit::Failed
        }
    }
}

/// Prints a part of a result that a person reads as it comes.
pub(crate) fn part(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints an error: a line on stderr and, for programs, a document on stdout.
pub(crate) fn error(json: bool, line: &str) {
    if json {
        error_document(line);
    }
    note(&format!("error: {line}"));
}

/// Prints the document that programs get instead of a result.
pub(crate) fn error_document(line: &str) {
    let document = serde_json::json!({ "error": line });
    let _ = writeln!(std::io::stdout(), "{document:#}");
}

/// Prints a line on stderr.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether a person watches stderr.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// A table with numbers to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(head.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        let numbers = rows
            .iter()
            .filter_map(|row| row.get(place))
            .all(|cell| is_number(cell));
        if numbers && !rows.is_empty() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty()
        && cell
            .chars()
            .all(|letter| letter.is_ascii_digit() || ",.%".contains(letter))
}

/// A number with thousands apart.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(12_345_678), "12,345,678");
    }
}
