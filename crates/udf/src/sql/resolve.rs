//! Ties the names of a syntax tree to columns, fields and functions, and refuses what is not a
//! function of one row.
//!
//! Lance columns are case-sensitive, and DataFusion lower-cases unquoted identifiers. Here an
//! unquoted identifier means the column of exactly that name or else the only column of that name in
//! another ASCII case; a quoted one means exactly its column. The tree is rewritten so that DataFusion
//! reads the same: every column reference becomes a quoted identifier, every field access a
//! subscript (`s.x` becomes `"s"['x']`), and function names are lower-cased.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow_schema::{DataType, Schema};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, LambdaFunction, LambdaFunctionParameter, OneOrManyWithParens, Query,
    Subscript, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::calls::{doubling_construct, settle_function};
use super::error::SqlError;
use super::limits;
use super::names::{NoSuchName, find_name};

/// A syntax tree whose names are settled.
pub(super) struct Resolved {
    /// The rewritten tree.
    pub(super) tree: Expr,
    /// The positions in the schema of the columns that the tree reads.
    pub(super) columns: BTreeSet<usize>,
}

/// Settles the names of `tree` against the columns of `schema`.
pub(super) fn resolve(mut tree: Expr, schema: &Schema) -> Result<Resolved, SqlError> {
    let mut resolver = Resolver {
        schema,
        names: schema.fields().iter().map(|f| f.name().as_str()).collect(),
        columns: BTreeSet::new(),
        lambdas: Vec::new(),
        doublings: 0,
    };
    match tree.visit(&mut resolver) {
        ControlFlow::Continue(()) => Ok(Resolved {
            columns: resolver.columns,
            tree,
        }),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Resolver<'a> {
    schema: &'a Schema,
    names: Vec<&'a str>,
    columns: BTreeSet<usize>,
    /// The parameters of the lambdas around the current node, the innermost last.
    lambdas: Vec<Vec<String>>,
    /// How many constructs around the current node double the work for it.
    doublings: usize,
}

impl VisitorMut for Resolver<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        ControlFlow::Break(Box::new(SqlError::Subquery))
    }

    fn pre_visit_expr(&mut self, node: &mut Expr) -> ControlFlow<Self::Break> {
        match self.settle(node).and_then(|()| self.enter(node)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn post_visit_expr(&mut self, node: &mut Expr) -> ControlFlow<Self::Break> {
        if matches!(node, Expr::Lambda(_)) {
            self.lambdas.pop();
        }
        if let Some((_, doublings)) = doubling_construct(node) {
            self.doublings -= doublings;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<Self::Break> {
        match &value.value {
            Value::Placeholder(name) => {
                ControlFlow::Break(Box::new(SqlError::Parameter { name: name.clone() }))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Resolver<'_> {
    /// Counts a settled node whose operands are worked on more than once.
    fn enter(&mut self, node: &Expr) -> Result<(), SqlError> {
        if let Some((construct, doublings)) = doubling_construct(node) {
            self.doublings += doublings;
            if self.doublings > limits::DOUBLINGS {
                return Err(SqlError::TooEntangled { construct });
            }
        }
        Ok(())
    }

    /// Rewrites one node; its children are visited afterwards.
    fn settle(&mut self, node: &mut Expr) -> Result<(), SqlError> {
        match node {
            Expr::Identifier(identifier) => self.settle_identifier(identifier).map(|_| ()),
            Expr::CompoundIdentifier(parts) => {
                let mut parts = std::mem::take(parts).into_iter().map(Expr::Identifier);
                // The parser makes no compound identifier without parts.
                let Some(root) = parts.next() else {
                    return Err(SqlError::Empty);
                };
                let chain = parts.map(AccessExpr::Dot).collect();
                *node = self.settle_access(root, chain)?;
                Ok(())
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                let root = std::mem::replace(root.as_mut(), Expr::value(Value::Null));
                *node = self.settle_access(root, std::mem::take(access_chain))?;
                Ok(())
            }
            Expr::Function(function) => settle_function(function),
            Expr::Lambda(lambda) => {
                self.lambdas.push(settle_parameters(lambda));
                Ok(())
            }
            Expr::Named { name, .. } => {
                // A field name in `struct(a AS x)` keeps its case, so quotes add nothing to it.
                name.quote_style = Some('"');
                Ok(())
            }
            Expr::Exists { .. } | Expr::Subquery(_) | Expr::InSubquery { .. } => {
                Err(SqlError::Subquery)
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => Err(SqlError::Wildcard),
            _ => Ok(()),
        }
    }

    /// Quotes a column reference; gives the column's type, or none for a lambda's parameter.
    fn settle_identifier(&mut self, identifier: &mut Ident) -> Result<Option<DataType>, SqlError> {
        let quoted = identifier.quote_style.is_some();
        if !quoted && identifier.value.starts_with('@') {
            return Err(SqlError::Parameter {
                name: identifier.value.clone(),
            });
        }
        let folded = folded(identifier);
        if self.lambdas.iter().flatten().any(|name| *name == folded) {
            identifier.value = folded;
            return Ok(None);
        }
        match find_name(&identifier.value, quoted, &self.names) {
            Ok(index) => {
                let field = self.schema.field(index);
                self.columns.insert(index);
                *identifier = Ident::with_quote('"', field.name());
                Ok(Some(field.data_type().clone()))
            }
            Err(NoSuchName::Ambiguous(candidates)) => Err(SqlError::AmbiguousColumn {
                name: identifier.value.clone(),
                candidates,
            }),
            Err(NoSuchName::Unknown(close)) => Err(SqlError::UnknownColumn {
                name: identifier.value.clone(),
                close,
            }),
        }
    }

    /// The access of `chain` on `root`, with every field name as a string subscript.
    fn settle_access(&mut self, mut root: Expr, chain: Vec<AccessExpr>) -> Result<Expr, SqlError> {
        let mut accesses = Vec::with_capacity(chain.len());
        let mut known = match &mut root {
            Expr::Identifier(identifier) => self.settle_identifier(identifier)?,
            Expr::CompoundIdentifier(parts) => {
                // `a.b[1]` may come with the root `a.b`; its parts belong to the chain.
                let mut parts = std::mem::take(parts).into_iter();
                if let Some(first) = parts.next() {
                    let rest = parts.map(Expr::Identifier).map(AccessExpr::Dot);
                    let chain = rest.chain(chain).collect();
                    return self.settle_access(Expr::Identifier(first), chain);
                }
                None
            }
            _ => None,
        };
        let mut parent = root.to_string();
        for access in chain {
            let access = match access {
                AccessExpr::Dot(Expr::Identifier(name)) => {
                    let field = field_name(&name, known.as_ref(), &parent)?;
                    field_access(field)
                }
                AccessExpr::Dot(Expr::Value(ValueWithSpan {
                    value: Value::SingleQuotedString(name) | Value::DoubleQuotedString(name),
                    ..
                })) => field_access(name),
                other => other,
            };
            known = known.and_then(|known| accessed_type(&known, &access));
            parent = format!("{parent}{access}");
            accesses.push(access);
        }
        Ok(Expr::CompoundFieldAccess {
            root: Box::new(root),
            access_chain: accesses,
        })
    }
}

/// Folds the parameter names of a lambda and returns them.
fn settle_parameters(lambda: &mut LambdaFunction) -> Vec<String> {
    let settle = |parameter: &mut LambdaFunctionParameter| {
        parameter.name.value = folded(&parameter.name);
        parameter.name.value.clone()
    };
    match &mut lambda.params {
        OneOrManyWithParens::One(parameter) => vec![settle(parameter)],
        OneOrManyWithParens::Many(parameters) => parameters.iter_mut().map(settle).collect(),
    }
}

/// The identifier as DataFusion reads it.
pub(super) fn folded(identifier: &Ident) -> String {
    match identifier.quote_style {
        Some(_) => identifier.value.clone(),
        None => identifier.value.to_lowercase(),
    }
}

/// The field that `name` means in a value of the type `parent_type`, as written if that is unknown.
fn field_name(
    name: &Ident,
    parent_type: Option<&DataType>,
    parent: &str,
) -> Result<String, SqlError> {
    let Some(DataType::Struct(fields)) = parent_type else {
        return Ok(name.value.clone());
    };
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    match find_name(&name.value, name.quote_style.is_some(), &names) {
        Ok(index) => Ok(fields
            .get(index)
            .map(|field| field.name().clone())
            .unwrap_or_default()),
        Err(NoSuchName::Ambiguous(candidates)) => Err(SqlError::AmbiguousColumn {
            name: name.value.clone(),
            candidates,
        }),
        Err(NoSuchName::Unknown(close)) => Err(SqlError::UnknownField {
            name: name.value.clone(),
            parent: parent.to_owned(),
            close,
        }),
    }
}

fn field_access(name: String) -> AccessExpr {
    AccessExpr::Subscript(Subscript::Index {
        index: Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(name),
            span: Span::empty(),
        }),
    })
}

/// The type of one access on a value, if it is plain to see.
fn accessed_type(of: &DataType, access: &AccessExpr) -> Option<DataType> {
    match (of, access) {
        (
            DataType::Struct(fields),
            AccessExpr::Subscript(Subscript::Index {
                index:
                    Expr::Value(ValueWithSpan {
                        value: Value::SingleQuotedString(name),
                        ..
                    }),
            }),
        ) => fields
            .find(name)
            .map(|(_, field)| field.data_type().clone()),
        (
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
            AccessExpr::Subscript(Subscript::Index { .. }),
        ) => Some(item.data_type().clone()),
        _ => None,
    }
}
