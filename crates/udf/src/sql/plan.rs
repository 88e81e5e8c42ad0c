//! From a settled syntax tree to a typed logical expression.
//!
//! DataFusion's simplifier is left out on purpose: it computes constants with wrapping arithmetic and
//! rewrites expressions as if no operand could fail. What is computed is what was written.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, Operator, Volatility, expr::ScalarFunction,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::sqlparser::ast::{Expr as SqlTree, ExprWithAlias};

use super::error::SqlError;
use super::session;

/// The logical expression of `tree`, with nothing in it that depends on more than one row.
pub(super) fn logical_expression(tree: SqlTree, schema: &DFSchema) -> Result<Expr, SqlError> {
    let tree = ExprWithAlias {
        expr: tree,
        alias: None,
    };
    let logical = session::state()
        .create_logical_expr_from_sql_expr(tree, schema)
        .map_err(|error| SqlError::from_planner(&error))?;
    let mut refusal = None;
    logical
        .apply(|node| {
            refusal = refusal_of(node);
            Ok(if refusal.is_some() {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            })
        })
        .map_err(|error| SqlError::from_planner(&error))?;
    match refusal {
        Some(refusal) => Err(refusal),
        None => Ok(logical),
    }
}

/// `logical` with the casts that its operators need, and with integer negation as a subtraction
/// from zero, which can be checked for overflow.
pub(super) fn typed_expression(logical: Expr, schema: &DFSchema) -> Result<Expr, SqlError> {
    let typed = || -> Result<Expr, DataFusionError> {
        let state = session::state();
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(state.config_options()))
            .build();
        let mut expression = ExprSimplifier::new(context.clone()).coerce(logical, schema)?;
        for rewrite in state.analyzer().function_rewrites() {
            expression = expression
                .transform_up(|node| rewrite.rewrite(node, schema, state.config_options()))
                .data()?;
        }
        expression
            .transform_up(|node| expand_function(node, &context))
            .data()?
            .transform_up(|node| checkable_negation(node, schema))
            .data()
    };
    typed().map_err(|error| SqlError::from_planner(&error))
}

/// `expression` as a value of the type `wanted`; a value that does not fit is an error later.
pub(super) fn cast_expression(
    expression: Expr,
    from: &DataType,
    wanted: &DataType,
) -> Result<Expr, SqlError> {
    if from == wanted {
        return Ok(expression);
    }
    if !arrow_cast::can_cast_types(from, wanted) {
        return Err(SqlError::CannotCast {
            from: from.to_string(),
            to: wanted.to_string(),
        });
    }
    Ok(Expr::Cast(Cast::new(Box::new(expression), wanted.clone())))
}

/// Why a node cannot be part of a function of one row.
///
/// Most of these were refused in the syntax tree already, with better messages; planning could
/// still make one of a form that was not thought of there.
fn refusal_of(node: &Expr) -> Option<SqlError> {
    let not_immutable = |name: &str, volatility| {
        (volatility != Volatility::Immutable).then(|| SqlError::NotImmutable {
            name: name.to_owned(),
        })
    };
    match node {
        Expr::ScalarFunction(call) => not_immutable(call.name(), call.func.signature().volatility),
        Expr::HigherOrderFunction(call) => {
            not_immutable(call.name(), call.func.signature().volatility)
        }
        Expr::AggregateFunction(call) => Some(SqlError::Aggregate {
            name: call.func.name().to_owned(),
        }),
        Expr::WindowFunction(call) => Some(SqlError::Window {
            name: call.fun.name().to_owned(),
        }),
        Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_)
        | Expr::ScalarSubquery(_)
        | Expr::OuterReferenceColumn(..) => Some(SqlError::Subquery),
        Expr::Placeholder(placeholder) => Some(SqlError::Parameter {
            name: placeholder.id.clone(),
        }),
        Expr::ScalarVariable(_, names) => Some(SqlError::Parameter {
            name: names.join("."),
        }),
        Expr::GroupingSet(_) | Expr::Unnest(_) => Some(SqlError::Unsupported {
            message: format!("`{node}` makes several rows of one"),
        }),
        _ => None,
    }
}

/// The functions that DataFusion only evaluates as what they stand for: the first one as a CASE,
/// the others as a cast.
const EXPANDED: [&str; 5] = [
    "nvl2",
    "arrow_cast",
    "arrow_try_cast",
    "cast_to_type",
    "try_cast_to_type",
];

fn expand_function(
    node: Expr,
    context: &SimplifyContext,
) -> Result<Transformed<Expr>, DataFusionError> {
    match node {
        Expr::ScalarFunction(ScalarFunction { func, args }) if EXPANDED.contains(&func.name()) => {
            match func.simplify(args, context)? {
                ExprSimplifyResult::Simplified(expanded) => Ok(Transformed::yes(expanded)),
                ExprSimplifyResult::Original(args) => {
                    Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction {
                        func,
                        args,
                    })))
                }
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

/// `0 - x` for the negation of a signed integer, because a negation wraps at the smallest integer.
fn checkable_negation(node: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    let Expr::Negative(operand) = node else {
        return Ok(Transformed::no(node));
    };
    let data_type = operand.get_type(schema)?;
    if !data_type.is_signed_integer() {
        return Ok(Transformed::no(Expr::Negative(operand)));
    }
    let zero = Expr::Literal(ScalarValue::new_zero(&data_type)?, None);
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
        Box::new(zero),
        Operator::Minus,
        operand,
    ))))
}
