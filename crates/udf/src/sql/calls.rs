//! The function calls of a syntax tree: which are refused, and which multiply work.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart,
};

use super::error::SqlError;
use super::limits;
use super::names::close_names;
use super::resolve::folded;
use super::session::{FunctionClass, function_class, function_names, is_higher_order};

/// Refuses functions of more than one row, and clauses that DataFusion would ignore.
pub(super) fn settle_function(function: &mut Function) -> Result<(), SqlError> {
    let written = function.name.to_string();
    if function.over.is_some() {
        return Err(SqlError::Window { name: written });
    }
    let [ObjectNamePart::Identifier(identifier)] = function.name.0.as_mut_slice() else {
        return Err(SqlError::UnknownFunction {
            name: written,
            close: Vec::new(),
        });
    };
    let name = folded(identifier);
    match function_class(&name) {
        FunctionClass::Scalar => {}
        FunctionClass::Aggregate => return Err(SqlError::Aggregate { name }),
        FunctionClass::Window => return Err(SqlError::Window { name }),
        FunctionClass::Unnest => {
            return Err(SqlError::Unsupported {
                message: "`unnest` makes several rows of one; use a list function such as \
                          array_element instead"
                    .to_owned(),
            });
        }
        FunctionClass::Unknown => {
            return Err(SqlError::UnknownFunction {
                close: close_names(&name, &function_names()),
                name: identifier.value.clone(),
            });
        }
    }
    *identifier = Ident::new(name.clone());

    let aggregate_clauses = function.filter.is_some()
        || function.null_treatment.is_some()
        || !function.within_group.is_empty();
    let parameters = function.parameters != FunctionArguments::None;
    let list_clauses = match &function.args {
        FunctionArguments::None => false,
        FunctionArguments::Subquery(_) => return Err(SqlError::Subquery),
        FunctionArguments::List(list) => {
            if list.args.iter().any(is_wildcard) {
                return Err(SqlError::Wildcard);
            }
            list.duplicate_treatment.is_some() || !list.clauses.is_empty()
        }
    };
    if aggregate_clauses || parameters || list_clauses {
        return Err(SqlError::Unsupported {
            message: format!(
                "`{name}` computes a value from one row, so it takes no DISTINCT, ORDER BY, FILTER, \
                 WITHIN GROUP or NULLS clause; remove the clause"
            ),
        });
    }
    Ok(())
}

/// The name of a construct whose operands are planned or evaluated more than once, and how many
/// times that doubles the work.
pub(super) fn doubling_construct(node: &Expr) -> Option<(String, usize)> {
    match node {
        Expr::Between { .. } => Some(("BETWEEN".to_owned(), 1)),
        Expr::Map(_) => Some(("MAP".to_owned(), 1)),
        // The list stands up to seven times in what it is rewritten to.
        Expr::AnyOp { .. } => Some(("ANY".to_owned(), limits::DOUBLINGS / 2)),
        Expr::AllOp { .. } => Some(("ALL".to_owned(), limits::DOUBLINGS / 2)),
        Expr::Function(function) => {
            let name = function.name.to_string();
            (name == "map" || name == "make_map" || is_higher_order(&name)).then_some((name, 1))
        }
        _ => None,
    }
}

fn is_wildcard(argument: &FunctionArg) -> bool {
    let (FunctionArg::Named { arg, .. }
    | FunctionArg::ExprNamed { arg, .. }
    | FunctionArg::Unnamed(arg)) = argument;
    !matches!(arg, FunctionArgExpr::Expr(_))
}
