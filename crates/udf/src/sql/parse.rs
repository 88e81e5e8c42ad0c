//! From the text of an expression to its syntax tree.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::dialect::ExpressionDialect;
use super::error::SqlError;
use super::limits;
use super::wording::one_line;

/// The one expression that `text` holds, in bounded time and depth.
pub(super) fn parse_expression(text: &str) -> Result<Expr, SqlError> {
    limits::check_length(text)?;
    let tokens = Tokenizer::new(&ExpressionDialect::for_tokens(0), text)
        .tokenize_with_location()
        .map_err(|error| SqlError::Parse {
            message: one_line(&error.to_string()),
        })?;
    if tokens
        .iter()
        .all(|token| matches!(token.token, Token::Whitespace(_) | Token::EOF))
    {
        return Err(SqlError::Empty);
    }
    limits::check_depth(&tokens)?;

    let dialect = ExpressionDialect::for_tokens(tokens.len());
    // The depth is bounded already; the parser counts several levels where the bound counts one.
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(8 * limits::DEPTH)
        .with_tokens_with_locations(tokens);
    let expression = parser
        .parse_expr()
        .map_err(|error| refusal(&dialect, &error))?;
    match &parser.peek_token_ref().token {
        Token::EOF => Ok(expression),
        other => Err(SqlError::TrailingText {
            found: visible(&other.to_string()),
        }),
    }
}

fn refusal(dialect: &ExpressionDialect, error: &ParserError) -> SqlError {
    if dialect.gave_up() {
        return SqlError::TooAmbiguous;
    }
    match error {
        ParserError::RecursionLimitExceeded => SqlError::TooDeep {
            limit: limits::DEPTH,
        },
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            SqlError::Parse {
                message: one_line(message),
            }
        }
    }
}

/// `text` in one line, with control characters as escapes.
fn visible(text: &str) -> String {
    one_line(text)
        .chars()
        .map(|character| match character {
            control if control.is_control() => control.escape_default().to_string(),
            other => other.to_string(),
        })
        .collect()
}
