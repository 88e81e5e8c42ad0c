//! Physical expressions whose arithmetic fails instead of wrapping, and whose AND, OR and COALESCE are
//! lazy.
//!
//! DataFusion adds, subtracts and multiplies integers modulo their range unless it is told otherwise,
//! keeps decimals that have more digits than their type, and evaluates the right side of an AND for
//! rows that the left side has decided when those are the minority.

use std::sync::Arc;

use arrow_schema::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, create_physical_expr};

use super::as_array::AsArray;
use super::decimal_range::DecimalRange;
use super::lazy_coalesce::LazyCoalesce;
use super::lazy_logic::{LazyLogic, Logic};
use super::session;

/// The checked physical expression of a typed logical one.
pub(super) fn physical_expression(
    expression: &Expr,
    schema: &DFSchema,
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let unchecked = create_physical_expr(expression, schema, session::state().execution_props())?;
    unchecked
        .transform_up(|node| checked(node, schema.as_arrow()))
        .data()
}

/// The functions that are the first of their arguments that is not NULL, by their main names.
pub(super) const COALESCE: [&str; 2] = ["coalesce", "nvl"];

fn checked(
    node: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Transformed<Arc<dyn PhysicalExpr>>, DataFusionError> {
    if let Some(call) = node.downcast_ref::<ScalarFunctionExpr>() {
        return checked_call(&node, call);
    }
    let Some(binary) = node.downcast_ref::<BinaryExpr>() else {
        return Ok(Transformed::no(node));
    };
    let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
    let operator = *binary.op();
    match operator {
        Operator::Plus
        | Operator::Minus
        | Operator::Multiply
        | Operator::Divide
        | Operator::Modulo => {
            let arithmetic: Arc<dyn PhysicalExpr> =
                Arc::new(BinaryExpr::new(left, operator, right).with_fail_on_overflow(true));
            let arithmetic = match arithmetic.data_type(schema)? {
                // Below the greatest precision, the result's type has room for every result.
                DataType::Decimal128(DECIMAL128_MAX_PRECISION, _)
                | DataType::Decimal256(DECIMAL256_MAX_PRECISION, _) => {
                    Arc::new(DecimalRange::new(arithmetic))
                }
                _ => arithmetic,
            };
            Ok(Transformed::yes(arithmetic))
        }
        Operator::And if can_fail(&right) => Ok(Transformed::yes(Arc::new(LazyLogic::new(
            left,
            Logic::And,
            right,
        )))),
        Operator::Or if can_fail(&right) => Ok(Transformed::yes(Arc::new(LazyLogic::new(
            left,
            Logic::Or,
            right,
        )))),
        _ => Ok(Transformed::no(node)),
    }
}

fn checked_call(
    node: &Arc<dyn PhysicalExpr>,
    call: &ScalarFunctionExpr,
) -> Result<Transformed<Arc<dyn PhysicalExpr>>, DataFusionError> {
    let name = call.fun().name();
    if COALESCE.contains(&name) {
        let coalesce = LazyCoalesce::new(call.args().to_vec());
        return Ok(Transformed::yes(Arc::new(coalesce)));
    }
    if name == "map" {
        let as_array = |argument: &Arc<dyn PhysicalExpr>| {
            Arc::new(AsArray::new(Arc::clone(argument))) as Arc<dyn PhysicalExpr>
        };
        let arguments = call.args().iter().map(as_array).collect();
        return Ok(Transformed::yes(
            Arc::clone(node).with_new_children(arguments)?,
        ));
    }
    Ok(Transformed::no(Arc::clone(node)))
}

/// Whether the evaluation for some row could fail, as far as the kinds of nodes tell.
///
/// What cannot fail need not be kept from a row, and DataFusion evaluates it faster.
fn can_fail(node: &Arc<dyn PhysicalExpr>) -> bool {
    let infallible_kind = match node.downcast_ref::<BinaryExpr>() {
        Some(binary) => is_comparison(*binary.op()) || binary.op().is_logic_operator(),
        None => {
            node.is::<Column>()
                || node.is::<Literal>()
                || node.is::<NotExpr>()
                || node.is::<IsNullExpr>()
                || node.is::<IsNotNullExpr>()
                || node.is::<InListExpr>()
                || node
                    .downcast_ref::<LikeExpr>()
                    // Another pattern per row may be malformed.
                    .is_some_and(|like| like.pattern().is::<Literal>())
        }
    };
    !infallible_kind || node.children().into_iter().any(can_fail)
}

fn is_comparison(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}
