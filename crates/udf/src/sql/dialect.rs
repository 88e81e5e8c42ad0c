//! The SQL dialect of expressions: sqlparser's generic one with lambdas, and a bound on its work.
//!
//! No dialect of sqlparser reads all that DataFusion evaluates: the generic one lacks lambdas
//! (`x -> x + 1`), DuckDB's lacks escape strings and reads `f(a = 1)` as a named argument. This one
//! delegates the questions that matter inside an expression to the generic dialect and adds lambdas.
//!
//! The parser tries a word as a keyword first and, when that fails, tries it again as a name, at
//! every level, so that a broken text costs it time exponential in the nesting. The dialect is asked
//! at the start of every operand and stops the parser when it has asked too often.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// How often each token of a text may be tried as the start of an operand, on average.
const TRIES_PER_TOKEN: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct ExpressionDialect {
    operands_left: Cell<usize>,
}

impl ExpressionDialect {
    /// The dialect to parse one text of `tokens` tokens with.
    pub(super) fn for_tokens(tokens: usize) -> Self {
        Self {
            operands_left: Cell::new((tokens + 1) * TRIES_PER_TOKEN),
        }
    }

    /// Whether the parser was stopped.
    pub(super) fn gave_up(&self) -> bool {
        self.operands_left.get() == 0
    }
}

/// Answers the named questions as the generic dialect does.
macro_rules! as_generic {
    ($($question:ident),+ $(,)?) => {
        $(fn $question(&self) -> bool {
            GenericDialect.$question()
        })+
    };
}

impl Dialect for ExpressionDialect {
    fn dialect(&self) -> TypeId {
        // The parser and the tokenizer also ask for a dialect by its type.
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        GenericDialect.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        GenericDialect.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        GenericDialect.is_identifier_part(character)
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.operands_left
            .set(self.operands_left.get().saturating_sub(1));
        self.gave_up()
            .then(|| Err(ParserError::ParserError("too ambiguous".to_owned())))
    }

    as_generic!(
        allow_extract_custom,
        allow_extract_single_quotes,
        support_map_literal_syntax,
        supports_array_typedef_with_brackets,
        supports_bitwise_shift_operators,
        supports_comma_separated_trim,
        supports_data_type_signed_suffix,
        supports_dictionary_syntax,
        supports_extract_comma_syntax,
        supports_filter_during_aggregation,
        supports_interval_options,
        supports_named_fn_args_with_assignment_operator,
        supports_nested_comments,
        supports_quote_delimited_string,
        supports_string_escape_constant,
        supports_struct_literal,
        supports_try_convert,
        supports_unicode_string_literal,
        supports_window_function_null_treatment_arg,
    );
}
