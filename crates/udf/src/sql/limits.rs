//! How long and how deep an expression may be.
//!
//! A syntax tree is built, walked and dropped by recursion, so that its depth must be bounded before
//! it exists. The bound is computed from the tokens: the depth of the tree is at most the number of
//! signs and keywords that precede a token inside the brackets which are open there, counted since
//! the last comma (or, in a CASE, the last WHEN, THEN or ELSE) of each bracket.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::error::SqlError;

/// The most bytes an expression may have.
pub(super) const LENGTH: usize = 64 * 1024;
/// The most levels an expression may nest, where each operator of a chain is a level.
pub(super) const DEPTH: usize = 300;
/// The most levels that constructs may nest in each other whose operands DataFusion plans or
/// evaluates more than once: BETWEEN, maps and functions of lambdas, each a level, and ANY and ALL,
/// each four.
pub(super) const DOUBLINGS: usize = 8;

/// Refuses a text that is longer than [`LENGTH`].
pub(super) fn check_length(text: &str) -> Result<(), SqlError> {
    if text.len() > LENGTH {
        return Err(SqlError::TooLong {
            bytes: text.len(),
            limit: LENGTH,
        });
    }
    Ok(())
}

/// Refuses tokens whose syntax tree could be deeper than [`DEPTH`].
pub(super) fn check_depth(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    if depth_bound(tokens) > DEPTH {
        return Err(SqlError::TooDeep { limit: DEPTH });
    }
    Ok(())
}

/// What opened a bracket.
#[derive(Clone, Copy, PartialEq)]
enum Opener {
    Text,
    Parenthesis,
    Bracket,
    Brace,
    Case,
}

/// One open bracket: what opened it, and the levels inside it since its last separator.
struct Open {
    opener: Opener,
    levels: usize,
}

/// At least the depth of any syntax tree of the tokens.
fn depth_bound(tokens: &[TokenWithSpan]) -> usize {
    let mut open = vec![Open {
        opener: Opener::Text,
        levels: 1,
    }];
    let (mut depth, mut bound) = (1, 1);
    for token in tokens {
        let inside_case = open.last().is_some_and(|open| open.opener == Opener::Case);
        match role_of(&token.token, inside_case) {
            Role::Operand => {}
            Role::Level => {
                depth += 1;
                if let Some(innermost) = open.last_mut() {
                    innermost.levels += 1;
                }
            }
            Role::Separator => {
                if let Some(innermost) = open.last_mut() {
                    depth -= innermost.levels - 1;
                    innermost.levels = 1;
                }
            }
            Role::Open(opener) => {
                // What follows the closed bracket may chain on it, as in `a[1][2]`.
                if let Some(innermost) = open.last_mut() {
                    innermost.levels += 1;
                }
                open.push(Open { opener, levels: 1 });
                depth += 2;
            }
            Role::Close(opener) => {
                if open.iter().any(|open| open.opener == opener) {
                    while let Some(closed) = open.pop() {
                        depth -= closed.levels;
                        if closed.opener == opener {
                            break;
                        }
                    }
                }
            }
        }
        bound = bound.max(depth);
    }
    bound
}

/// What a token does to the depth.
enum Role {
    Operand,
    Level,
    Separator,
    Open(Opener),
    Close(Opener),
}

fn role_of(token: &Token, inside_case: bool) -> Role {
    match token {
        Token::Word(word) => match word.keyword {
            Keyword::NoKeyword => Role::Operand,
            Keyword::CASE => Role::Open(Opener::Case),
            Keyword::END => Role::Close(Opener::Case),
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE if inside_case => Role::Separator,
            _ => Role::Level,
        },
        Token::LParen => Role::Open(Opener::Parenthesis),
        Token::RParen => Role::Close(Opener::Parenthesis),
        Token::LBracket => Role::Open(Opener::Bracket),
        Token::RBracket => Role::Close(Opener::Bracket),
        Token::LBrace => Role::Open(Opener::Brace),
        Token::RBrace => Role::Close(Opener::Brace),
        Token::Comma => Role::Separator,
        Token::Whitespace(_) | Token::EOF | Token::Number(..) | Token::SingleQuotedString(_) => {
            Role::Operand
        }
        _ => Role::Level,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::super::dialect::ExpressionDialect;
    use super::*;

    fn bound(text: &str) -> usize {
        let dialect = ExpressionDialect::for_tokens(1);
        let tokens = Tokenizer::new(&dialect, text)
            .tokenize_with_location()
            .unwrap();
        depth_bound(&tokens)
    }

    #[test]
    fn the_bound_counts_brackets_and_the_operators_before_a_token() {
        for (text, expected) in [
            ("a", 1),
            ("a + b", 2),
            ("a + b - c", 3),
            ("((a))", 5),
            ("f(a, b, c)", 3),
            ("f(a + b, c + d)", 4),
            ("- - - a", 4),
            ("a[1][2]", 4),
            ("x IN (1, 2, 3, 4, 5, 6)", 4),
        ] {
            assert_eq!(bound(text), expected, "{text}");
        }
    }

    #[test]
    fn the_arms_of_a_case_do_not_add_up() {
        let arms = "WHEN a = 1 THEN b + 1 ".repeat(500);
        assert!(bound(&format!("CASE {arms} ELSE 0 END")) < 8);
    }

    #[test]
    fn a_stray_closing_bracket_does_not_lower_the_bound() {
        assert_eq!(bound(")))] } END a + b"), 2);
        assert_eq!(bound("((((END END"), 9);
    }

    #[test]
    fn a_when_outside_a_case_is_no_separator() {
        assert!(bound(&"- WHEN ".repeat(100)) > 100);
    }
}
