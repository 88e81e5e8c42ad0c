//! The text of an expression that goes into content digests.
//!
//! The canonical text is the settled syntax tree, printed: white space, comments, the case of
//! keywords and of function names, quotes, and the case in which a column is named have no part in
//! it. It is only used when it can be read back to the same expression, so that two expressions of
//! one canonical text over the same columns compute the same values.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan, VisitMut, VisitorMut};

/// The canonical text of `tree`, which was read from `text` and reads the columns `inputs`.
///
/// `means_the_same` says whether a text is read to the same expression. When the printed tree is
/// not, as for quotes inside quoted names, the text itself is taken together with the columns that
/// its names were resolved to: its white space counts then.
pub(super) fn canonical_text(
    tree: &Expr,
    text: &str,
    inputs: &[String],
    means_the_same: impl FnOnce(&str) -> bool,
) -> String {
    let mut printable = tree.clone();
    // The visitor never breaks off.
    let _ = printable.visit(&mut SafeStrings);
    let printed = printable.to_string();
    if means_the_same(&printed) {
        printed
    } else {
        format!("{text}\n{inputs:?}")
    }
}

/// Chooses the one spelling of each string that the printer gets right.
///
/// The printer takes a doubled quote and a quote after a backslash for quotes that are escaped
/// already; it escapes exactly in an `E'…'` string.
struct SafeStrings;

impl VisitorMut for SafeStrings {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::SingleQuotedString(string) | Value::EscapedStringLiteral(string) =
            &mut value.value
        {
            let string = std::mem::take(string);
            value.value = if string.contains("''") || string.contains("\\'") {
                Value::EscapedStringLiteral(string)
            } else {
                Value::SingleQuotedString(string)
            };
        }
        ControlFlow::Continue(())
    }
}
