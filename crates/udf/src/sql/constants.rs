//! The parts of an expression that read no column.
//!
//! They are computed once, with the same checked arithmetic as rows. A constant part that fails is an
//! error when the expression is compiled, unless a row might not need it: the arms of a CASE, the
//! right side of AND and OR and the later operands of COALESCE are only computed for the rows that reach them.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, ColumnarValue, Expr, Operator};

use super::checked::{COALESCE, physical_expression};
use super::error::SqlError;
use super::evaluate_error::EvaluateError;
use super::guard::evaluate_guarded;
use super::wording::one_line;

/// `expression` with every constant part that can be computed replaced by its value.
pub(super) fn fold_constants(expression: Expr) -> Result<Expr, SqlError> {
    let folded = expression
        .transform_up(|node| {
            Ok(match folded_value(&node)? {
                Some(value) => Transformed::yes(Expr::Literal(value, None)),
                None => Transformed::no(node),
            })
        })
        .data()
        .map_err(|error| SqlError::from_planner(&error))?;
    check_eager_constants(&folded)?;
    Ok(folded)
}

/// The value of a node that is not a literal and whose operands all are; none if it fails.
fn folded_value(node: &Expr) -> Result<Option<ScalarValue>, DataFusionError> {
    if is_leaf(node) {
        return Ok(None);
    }
    let mut all_literals = true;
    node.apply_children(|child| {
        all_literals &= matches!(child, Expr::Literal(..));
        Ok(if all_literals {
            TreeNodeRecursion::Continue
        } else {
            TreeNodeRecursion::Stop
        })
    })?;
    Ok(if all_literals {
        constant_value(node).ok()
    } else {
        None
    })
}

/// Refuses an expression with a constant part that every row needs and that fails.
fn check_eager_constants(node: &Expr) -> Result<(), SqlError> {
    if matches!(node, Expr::Literal(..)) {
        return Ok(());
    }
    let reads_rows = node
        .exists(|part| {
            Ok(matches!(
                part,
                Expr::Column(_) | Expr::Lambda(_) | Expr::LambdaVariable(_)
            ))
        })
        .map_err(|error| SqlError::from_planner(&error))?;
    if !reads_rows {
        return match constant_value(node) {
            Ok(_) => Ok(()),
            Err(error) => Err(SqlError::ConstantFails {
                part: one_line(&node.human_display().to_string()),
                message: EvaluateError::from(&error).message,
            }),
        };
    }
    eager_parts(node)
        .into_iter()
        .try_for_each(check_eager_constants)
}

/// The parts of `node` that are computed for every row for which `node` is computed.
fn eager_parts(node: &Expr) -> Vec<&Expr> {
    match node {
        Expr::Case(case) => match (&case.expr, case.when_then_expr.first()) {
            (Some(operand), _) => vec![operand.as_ref()],
            (None, Some((condition, _))) => vec![condition.as_ref()],
            (None, None) => Vec::new(),
        },
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::And | Operator::Or,
            ..
        }) => vec![left.as_ref()],
        Expr::ScalarFunction(call) if COALESCE.contains(&call.name()) => {
            call.args.first().into_iter().collect()
        }
        // A list without elements computes the body for no element.
        Expr::Lambda(_) => Vec::new(),
        other => {
            let mut parts = Vec::new();
            // The closure does not fail.
            let _ = other.apply_children(|child| {
                parts.push(child);
                Ok(TreeNodeRecursion::Continue)
            });
            parts
        }
    }
}

fn is_leaf(node: &Expr) -> bool {
    matches!(
        node,
        Expr::Literal(..) | Expr::Column(_) | Expr::Lambda(_) | Expr::LambdaVariable(_)
    )
}

/// The value of an expression that reads no column.
fn constant_value(expression: &Expr) -> Result<ScalarValue, DataFusionError> {
    let physical = physical_expression(expression, &DFSchema::empty())?;
    let one_row = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    match evaluate_guarded(physical.as_ref(), &one_row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(values.as_ref(), 0),
    }
}
